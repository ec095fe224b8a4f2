// The simulated day: numbers are set, the server simulates, and what triage saves and what it costs stand side by side.

import { useState, type FormEvent } from "react";
import { api } from "../api/client";
import { simulateDay, type DayInputs, type SimulatedDay } from "../api/day";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";
import { DayChart } from "./DayChart";
import { FIELDS, GROUPS, interval, operatingPoints, sentence, START, type Field } from "./day";
import "../styles/day.css";

export function DayPage() {
  const [inputs, setInputs] = useState<DayInputs>(START);
  const [done, setDone] = useState<{ of: DayInputs; day: SimulatedDay } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const set = (changes: Partial<DayInputs>): void => setInputs((now) => ({ ...now, ...changes }));
  const run = (event: FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    simulateDay(inputs).then(
      (day) => setDone({ of: inputs, day }),
      // An earlier result would look like the answer to what was just asked.
      (problem: unknown) => { setError(problem); setDone(null); },
    ).finally(() => setBusy(false));
  };
  return (
    <main className="page stack" aria-busy={busy}>
      <h1>A simulated day</h1>
      <p className="note warn" data-testid="day-honest">
        Simulated: no study and no patient of this house is in it. The department is invented unless you set its numbers, and the finding and the reader&apos;s errors fall by chance
        alone, which real ones do not. It shows what an order of reading can do to waiting; it shows nothing about anybody&apos;s outcome.
      </p>
      <form className="day-form" onSubmit={run}>
        {FIELDS.map((part) => (
          <fieldset key={part.title} className="card">
            <legend>{part.title}</legend>
            {part.title === "The finding and the reader" && <PointChoice onChosen={set} />}
            {part.fields.map((field) => <NumberField key={field.key} field={field} value={inputs[field.key]} onChange={(value) => set({ [field.key]: value })} />)}
          </fieldset>
        ))}
        <div className="row">
          <button type="submit" className="primary" disabled={busy} data-testid="day-run">{busy ? "Simulating…" : "Simulate"}</button>
          <span className="muted" role="status">{busy && "This takes some seconds."}</span>
        </div>
      </form>
      {error !== null && <ErrorNote error={error} />}
      {done && done.of !== inputs && <p className="note info" data-testid="day-stale">The numbers above have changed since: simulate again.</p>}
      {done && <Result day={done.day} />}
    </main>
  );
}

function NumberField({ field, value, onChange }: { field: Field; value: number; onChange: (value: number) => void }) {
  const scale = field.share ? 100 : 1;
  return (
    <label className="field">
      {field.label}
      <input
        type="number" required min={field.min} max={field.max} step={field.step} data-testid={`day-${field.key}`}
        value={Number.isNaN(value) ? "" : Number((value * scale).toPrecision(12))}
        onChange={(event) => onChange(event.target.valueAsNumber / scale)}
      />
    </label>
  );
}

/** Sensitivity and specificity as a reader's card has them. */
function PointChoice({ onChosen }: { onChosen: (point: { sensitivity: number; specificity: number }) => void }) {
  const { value } = useLoaded(api.readers);
  const points = (value ?? []).flatMap((card) => ("metrics" in card ? operatingPoints(card) : []));
  if (!points.length) return null;
  return (
    <label className="field">
      From a reader&apos;s card
      <select
        defaultValue="" data-testid="day-point"
        onChange={(event) => {
          const point = points[Number(event.target.value)];
          if (event.target.value !== "" && point) onChosen({ sensitivity: point.sensitivity, specificity: point.specificity });
        }}
      >
        <option value="">typed below</option>
        {points.map((point, n) => <option key={`${point.name} ${n}`} value={n}>{point.name}</option>)}
      </select>
    </label>
  );
}

function Result({ day }: { day: SimulatedDay }) {
  const of = (name: string) => day.groups.find((group) => group.name === name);
  const positives = of("positives");
  const missed = of("missed");
  const negatives = of("negatives");
  const half = day.percentiles.indexOf(50);
  const most = day.percentiles.indexOf(95);
  return (
    <section className="stack" data-testid="day-result" aria-label="Result">
      <ul className="day-words">
        {positives && <li>{sentence(positives, "Studies with the finding")}</li>}
        {negatives && <li>{sentence(negatives, "Studies without it")}</li>}
        {missed && <li>{sentence(missed, "Those that the reader misses")}</li>}
        <li>
          Reading takes {Math.round(day.load * 100)}% of the radiologists&apos; time, {Math.round(day.peak_load * 100)}% in the busiest hour.
          {day.peak_load < 1 && " There is hardly a queue, so there is little that an order can save."}
        </li>
      </ul>
      <DayChart day={day} />
      <table className="plain number" data-testid="day-table">
        <caption className="visually-hidden">Minutes from arrival until somebody begins to read</caption>
        <thead>
          <tr>
            <th scope="col">Studies</th><th scope="col">n</th><th scope="col">Mean wait, without (95% interval)</th><th scope="col">Mean wait, with triage</th><th scope="col">Saved (below 0: lost)</th>
            <th scope="col">Half wait up to</th><th scope="col">95% wait up to</th><th scope="col">Longest</th>
          </tr>
        </thead>
        <tbody>
          {day.groups.map((group) => (
            <tr key={group.name} data-testid="day-group" data-group={group.name}>
              <td>{GROUPS[group.name]}</td>
              <td>{group.studies}</td>
              <td>{interval(group.wait_without)}</td>
              <td>{interval(group.wait_with)}</td>
              <td><strong>{interval(group.saved)}</strong></td>
              <td>{pair(group.percentiles_without[half], group.percentiles_with[half])}</td>
              <td>{pair(group.percentiles_without[most], group.percentiles_with[most])}</td>
              <td>{pair(group.worst_without, group.worst_with)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="muted">
        Minutes from arrival until somebody begins to read; {day.days} days, the same studies in both orders, intervals over days (bootstrap). Arrows go from without to with triage. Without triage the
        list is in the order of priority as ordered, then of arrival; with it, in this house&apos;s own order, whose head starts are finite: no study is overtaken by one that came 76 hours later.
      </p>
    </section>
  );
}

const pair = (without: number | undefined, withTriage: number | undefined): string =>
  `${Math.round(without ?? 0)} → ${Math.round(withTriage ?? 0)}`;
