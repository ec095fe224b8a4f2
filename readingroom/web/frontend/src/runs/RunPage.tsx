// One training run: how far it is, its curves, how each fold did, the settings that were tried, what it was made from.

import { useState } from "react";
import { runsApi, type Judged, type Run, type Trial } from "../api/runs";
import { ErrorNote } from "../components/ErrorNote";
import { follow } from "../components/Top";
import { age, localTime } from "../format";
import { usePolling } from "../hooks";
import { rounded } from "../pages/metrics";
import { Chart } from "./Chart";
import { RunFacts } from "./RunFacts";
import { isLive, RunChip, RunProgress, timeLeft, whereItIs } from "./RunParts";

const LIVE_POLL_MS = 5000;
/** Of a run that has ended: somebody may go on with it. */
const POLL_MS = 60_000;

export function RunPage({ runId }: { runId: string }) {
  const [run, setRun] = useState<Run | null>(null);
  const [error, setError] = useState<unknown>(null);
  usePolling(async () => {
    try {
      setRun(await runsApi.one(runId));
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  }, run === null || isLive(run.state) ? LIVE_POLL_MS : POLL_MS, [runId]);
  return (
    <main className="page stack" aria-busy={run === null && error === null}>
      <p><a href="/runs" onClick={follow("/runs")}>← All runs</a></p>
      {error !== null && <ErrorNote error={error} />}
      {run === null && error === null && <p className="muted" role="status">Loading…</p>}
      {run && <Head run={run} />}
      {run && run.state !== "unreadable" && <Body run={run} />}
    </main>
  );
}

function Head({ run }: { run: Run }) {
  const bad = run.state === "unreadable" || run.state === "interrupted";
  return (
    <>
      <div className="row">
        <h1>{run.name}</h1>
        <span className="muted">{run.reader} {run.version}</span>
        <RunChip state={run.state} />
      </div>
      {run.reason && <p className={`note ${bad ? "bad" : "warn"}`} data-testid="run-reason">{run.reason}</p>}
      {run.folds !== null && (
        <div className="run-head number" data-testid="run-head">
          <RunProgress run={run} />
          <span>{whereItIs(run)}</span>
          <span className="muted">{[`${age(run.seconds)} of training`, timeLeft(run)].filter(Boolean).join(", ")}</span>
          <span className="muted">started {localTime(run.started_at)}{run.ended_at && `, ended ${localTime(run.ended_at)}`}</span>
        </div>
      )}
    </>
  );
}

function Body({ run }: { run: Run }) {
  return (
    <>
      {run.notes.map((note) => <p key={note} className="note warn">{note}</p>)}
      <div className="cards">
        <Curves run={run} />
        {run.validation.length > 0 && <Validation run={run} />}
        {run.trials.length > 0 && <Trials run={run} />}
        {Object.keys(run.facts).length > 0 && <RunFacts facts={run.facts} />}
      </div>
    </>
  );
}

function Curves({ run }: { run: Run }) {
  const [wanted, setWanted] = useState("loss");
  const names = [...new Set(run.curves.map((curve) => curve.name))].sort((a, b) => Number(b === "loss") - Number(a === "loss"));
  const name = names.includes(wanted) ? wanted : (names[0] ?? "loss");
  return (
    <section className="card wide" data-testid="run-curves">
      <div className="row">
        <h2>Loss in training</h2>
        <div className="segmented" role="group" aria-label="Which part of the loss">
          {names.map((one) => (
            <button key={one} type="button" aria-pressed={one === name} onClick={() => setWanted(one)}>
              {one === "loss" ? "whole" : one}
            </button>
          ))}
        </div>
      </div>
      <Chart curves={run.curves.filter((curve) => curve.name === name)} title={name} steps={run.steps} />
      <p className="muted">Each line is the network that never sees the fold of its name; long curves are shown as means of stretches.</p>
    </section>
  );
}

function Validation({ run }: { run: Run }) {
  const metrics = [...new Set(run.validation.flatMap((one) => Object.keys(one.metrics)))];
  const cell = (one: Judged, metric: string): string => {
    const value = one.metrics[metric];
    return value === undefined ? "–" : rounded(value);
  };
  return (
    <section className="card" data-testid="run-validation">
      <h2>Validation</h2>
      <p className="muted">Each network on the fold that it never saw{run.select && <>; <b>{run.select}</b> decides</>}.</p>
      <table className="plain number">
        <thead><tr>{["Fold", ...metrics, "n"].map((one) => <th key={one} scope="col">{one}</th>)}</tr></thead>
        <tbody>
          {run.validation.map((one) => (
            <tr key={one.fold}>
              <td>{one.fold + 1}</td>
              {metrics.map((metric) => <td key={metric}>{cell(one, metric)}</td>)}
              <td>{one.n ?? "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const settingsText = (trial: Trial): string =>
  Object.entries(trial.settings)
    .map(([name, value]) => `${name} ${typeof value === "number" ? rounded(value) : String(value)}`)
    .join(", ") || "the recipe as it is";

function Trials({ run }: { run: Run }) {
  const better = run.direction === "minimise" ? "lowest" : "highest";
  return (
    <section className="card" data-testid="run-trials">
      <h2>Settings tried</h2>
      <p className="muted">Every trial is kept; the {better} {run.select || "score"} comes first.</p>
      <table className="plain number">
        <thead><tr>{["Trial", "Score", "Settings", "Time", ""].map((one) => <th key={one} scope="col">{one}</th>)}</tr></thead>
        <tbody>
          {run.trials.map((trial) => (
            <tr key={trial.trial} className={trial.chosen ? "chosen" : undefined} data-testid="run-trial">
              <td>{trial.trial}</td>
              <td>{trial.score === null ? "–" : rounded(trial.score)}</td>
              <td>{settingsText(trial)}{trial.reason && <div className="sub">{trial.reason}</div>}</td>
              <td className="keep">{age(trial.seconds)}</td>
              <td>
                {trial.chosen && <span className="chip good"><span aria-hidden="true">✓</span>chosen</span>}
                {trial.state === "failed" && <span className="chip bad"><span aria-hidden="true">✕</span>failed</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
