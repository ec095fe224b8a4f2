// What norms say of one person: the map, the region that is looked at with its curve, the probability, all numbers.

import { useMemo, useState } from "react";
import type { Answer, Region } from "../api/norms";
import { BrainMap, type Measure } from "./BrainMap";
import { NormCurve } from "./NormCurve";
import { FAR, signed, valueText, worse } from "./scale";

export function NormsResult({ answer, age, sex }: { answer: Answer; age: number; sex: "F" | "M" }) {
  const regions = useMemo(() => new Map(answer.regions.map((one) => [one.name, one])), [answer]);
  const sorted = useMemo(() => [...answer.regions].sort((a, b) => worse(b) - worse(a)), [answer]);
  const thick = answer.regions.some((one) => one.kind === "thickness");
  const [measure, setMeasure] = useState<Measure>(thick ? "thickness" : "volume");
  const [selected, setSelected] = useState(regions.has("Hippocampus") ? "Hippocampus" : (sorted[0]?.name ?? ""));
  const chosen = regions.get(selected);
  if (!answer.regions.length) {
    return (
      <div className="empty" data-testid="norms-none">
        <p>There is no z-score to show.</p>
        {answer.notes.map((note) => <p key={note} className="muted">{note}</p>)}
      </div>
    );
  }
  return (
    <div className="norms-result" data-testid="norms-result">
      <section className="card stack">
        <div className="row">
          <h2>Map of abnormality</h2>
          <div className="row" role="group" aria-label="Cortex">
            <button type="button" aria-pressed={measure === "thickness"} disabled={!thick} onClick={() => setMeasure("thickness")}>Thickness</button>
            <button type="button" aria-pressed={measure === "volume"} onClick={() => setMeasure("volume")} data-testid="norms-volume">Volume</button>
          </div>
        </div>
        <BrainMap measure={measure} regions={regions} selected={selected} onSelect={setSelected} />
      </section>
      <div className="stack">
        {chosen && (
          <section className="card stack" aria-live="polite" data-testid="norms-region">
            <h2>{chosen.words}</h2>
            <p className="number"><strong>z {chosen.z < 0 ? "−" : "+"}{Math.abs(chosen.z).toFixed(2)}</strong> (95 % interval {signed(chosen.low)} to {signed(chosen.high)}), {valueText(chosen.value, chosen.unit)}, percentile {chosen.percentile.toFixed(1)}</p>
            <NormCurve region={chosen} sex={sex} age={age} headMl={answer.head_size_ml} />
          </section>
        )}
        <Probability answer={answer} />
        <Origin answer={answer} />
      </div>
      <Numbers regions={sorted} selected={selected} onSelect={setSelected} />
    </div>
  );
}

function Probability({ answer }: { answer: Answer }) {
  const parts = answer.contributions.filter((one) => one.value !== null).slice(0, 6);
  return (
    <section className="card stack" data-testid="norms-probability">
      <h2>Pattern as in dementia</h2>
      {answer.probability === null ? <p className="muted">No probability; the reason is below.</p> : (
        <>
          <p className="number"><strong>{Math.round(100 * answer.probability)} %</strong> probability of CDR above 0, in a group of whom {Math.round(100 * answer.prevalence)} % have it</p>
          <p className="muted">A pattern, not a diagnosis. Most of it came from (log-odds):</p>
          <ul className="contributions number">
            {parts.map((one) => <li key={one.feature}>{one.feature}: {one.weight < 0 ? "−" : "+"}{Math.abs(one.weight).toFixed(2)}</li>)}
          </ul>
        </>
      )}
    </section>
  );
}

function Origin({ answer }: { answer: Answer }) {
  return (
    <section className="card stack" data-testid="norms-notes">
      <h2>What this rests on</h2>
      {answer.notes.map((note) => <p key={note} className="note warn">{note}</p>)}
      {answer.norms.map((one) => <p key={one.kind} className="muted">{one.kind}: {one.controls} healthy people of {one.source}, {one.ages[0]} to {one.ages[1]} years</p>)}
      <p className="muted">Evidence level 1: measured on people of the same collections only. Another scanner or FreeSurfer version shifts z. The card of the reader alzheimer says how well it did.</p>
    </section>
  );
}

function Numbers({ regions, selected, onSelect }: { regions: Region[]; selected: string; onSelect: (name: string) => void }) {
  const far = regions.filter((one) => Math.abs(one.z) >= FAR).length;
  return (
    <section className="card stack norms-numbers">
      <h2>All {regions.length} numbers</h2>
      <p className="muted">{far} outside the 95 % band; of {regions.length}, about {Math.round(regions.length / 20)} are in a healthy person. Most abnormal first.</p>
      <div className="norms-table">
        <table>
          <thead><tr><th scope="col">Region</th><th scope="col">Value</th><th scope="col">z</th><th scope="col">95 % interval</th><th scope="col">Percentile</th></tr></thead>
          <tbody>
            {regions.map((one) => (
              <tr key={one.name} aria-selected={one.name === selected}>
                <th scope="row"><button type="button" className="quiet" onClick={() => onSelect(one.name)}>{one.words}</button></th>
                <td className="number">{valueText(one.value, one.unit)}</td>
                <td className="number">{signed(one.z)}</td>
                <td className="number">{signed(one.low)} to {signed(one.high)}</td>
                <td className="number">{one.percentile.toFixed(1)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
