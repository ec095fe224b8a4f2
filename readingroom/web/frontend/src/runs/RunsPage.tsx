// Training runs kept in the home folder: which there are and how far each is.

import { useState } from "react";
import { runsApi, type RunSummary } from "../api/runs";
import { ErrorNote } from "../components/ErrorNote";
import { follow } from "../components/Top";
import { age, localTime } from "../format";
import { usePolling } from "../hooks";
import { runPath } from "../router";
import { isLive, RunChip, RunProgress, timeLeft, whereItIs } from "./RunParts";

const POLL_MS = 5000;
const COMMAND = "readingroom train lung-nodule --data DATA --out HOME/runs/NAME";

export function RunsPage() {
  const [runs, setRuns] = useState<{ total: number; items: RunSummary[] } | null>(null);
  const [error, setError] = useState<unknown>(null);
  usePolling(async () => {
    try {
      setRuns(await runsApi.list());
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  }, POLL_MS, []);
  return (
    <main className="page stack" aria-busy={runs === null && error === null}>
      <h1>Training runs</h1>
      {error !== null && <ErrorNote error={error} />}
      {runs === null && error === null && <p className="muted" role="status">Loading…</p>}
      {runs?.total === 0 && (
        <div className="empty" data-testid="runs-empty">
          <p>No reader has been trained here. A run is shown when its folder is in <code>runs</code> of this house's home folder:</p>
          <pre className="command">{COMMAND}</pre>
          <p className="muted">HOME is the folder that <code>readingroom serve</code> was started with (<code>readingroom-data</code> where none was named).</p>
        </div>
      )}
      {runs !== null && runs.total > 0 && <RunTable items={runs.items} />}
      {runs !== null && runs.total > runs.items.length && (
        <p className="muted">The latest {runs.items.length} of {runs.total} are shown.</p>
      )}
    </main>
  );
}

function RunTable({ items }: { items: RunSummary[] }) {
  return (
    <table className="plain number">
      <thead>
        <tr>{["Run", "Reader", "State", "Progress", "Time", "Started"].map((name) => <th key={name} scope="col">{name}</th>)}</tr>
      </thead>
      <tbody>
        {items.map((run) => (
          <tr key={run.id} data-testid="run-row">
            <td><a href={runPath(run.id)} onClick={follow(runPath(run.id))}>{run.name}</a></td>
            <td>{run.reader} {run.version}</td>
            <td><RunChip state={run.state} />{run.reason && <div className="sub">{run.reason}</div>}</td>
            <td>{run.folds !== null && <><RunProgress run={run} /><div className="sub">{whereItIs(run)}</div></>}</td>
            <td>{run.folds !== null && age(run.seconds)}{isLive(run.state) && <div className="sub">{timeLeft(run)}</div>}</td>
            <td className="keep">{localTime(run.started_at)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
