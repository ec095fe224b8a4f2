// One cohort: its versions with their parts, who is left out and why, its label sets, and the looks at the test part.

import { useCallback, useState } from "react";
import { type Cohort, type CohortVersion, cohorts } from "../api/cohorts";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { follow } from "../components/Top";
import { localTime } from "../format";
import { useLoaded } from "../pages/useLoaded";
import { EvaluateDialog } from "./EvaluateDialog";
import { Looks } from "./Looks";
import { countsText, LEFT_OUT_WORDS, membersOf, questionText } from "./words";

type Asking = "" | "freeze" | "labels" | "evaluate";

export function CohortPage({ cohortId }: { cohortId: string }) {
  const load = useCallback(() => cohorts.one(cohortId), [cohortId]);
  const { value: loaded, error, again } = useLoaded(load);
  const [changed, setChanged] = useState<Cohort | null>(null);
  const [asking, setAsking] = useState<Asking>("");
  const cohort = changed ?? loaded;
  const newest = cohort?.versions[0];
  const done = (answer: Cohort): void => {
    setChanged(answer);
    setAsking("");
  };
  return (
    <main className="page stack" aria-busy={cohort === null}>
      <p><a href="/cohorts" onClick={follow("/cohorts")}>← Cohorts</a></p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {cohort === null && error === null && <p className="muted" role="status">Loading…</p>}
      {cohort && (
        <>
          <div className="row">
            <h1>{cohort.name}</h1>
            <span className="chip">project {cohort.project}</span>
            <span className="chip">for {cohort.purpose}</span>
            <span className="grow" />
            {cohort.may_write && cohort.source === "query" && (
              <button type="button" className="primary" onClick={() => setAsking("freeze")} data-testid="freeze">Freeze a version…</button>
            )}
            {cohort.may_write && newest && (
              <>
                <button type="button" onClick={() => setAsking("labels")} data-testid="freeze-labels">Freeze labels…</button>
                <button type="button" disabled={!newest.label_sets.length} title={newest.label_sets.length ? "" : "Freeze labels first"} onClick={() => setAsking("evaluate")} data-testid="evaluate">Evaluate a reader…</button>
              </>
            )}
          </div>
          <p>{cohort.title}</p>
          <p className="muted" data-testid="question">
            Asks for {questionText(cohort.definition)}. Shares of the groups: {Math.round(cohort.shares.validation * 100)} % validation, {Math.round(cohort.shares.test * 100)} % test, the rest training.
          </p>
          {cohort.versions.length === 0 && (
            <section className="empty" data-testid="never-frozen">
              <h2>Never frozen</h2>
              <p>
                {cohort.source === "folder"
                  ? "A folder is frozen where it lies: readingroom cohort freeze."
                  : "Freeze it to see who is in it, in which part, and who is left out and why."}
              </p>
            </section>
          )}
          {cohort.versions.map((version) => <Version key={version.number} cohort={cohort} version={version} />)}
          {cohort.versions.length > 0 && <Looks evaluations={cohort.evaluations} />}
        </>
      )}
      {cohort && asking === "freeze" && (
        <Confirm title="Freeze a version" word="Freeze" act={() => cohorts.freeze(cohort.id)} onDone={done} onClose={() => setAsking("")}>
          Every patient is asked about now, at the one place that knows what they allow. The version stays for ever as it is
          then, and each new patient's part is fixed for ever. It is written down for each patient that their data are in it.
        </Confirm>
      )}
      {cohort && newest && asking === "labels" && (
        <Confirm title={`Freeze the labels of version ${newest.number}`} word="Freeze" act={() => cohorts.freezeLabels(cohort.id, newest.number)} onDone={done} onClose={() => setAsking("")}>
          What people have accepted, edited, added and rejected so far becomes a label set that never changes. Labels of the
          test part are in it, and locked.
        </Confirm>
      )}
      {cohort && newest && asking === "evaluate" && (
        <EvaluateDialog cohort={cohort} version={newest.number} onDone={done} onClose={() => setAsking("")} />
      )}
    </main>
  );
}

function Version({ cohort, version }: { cohort: Cohort; version: CohortVersion }) {
  const left = Object.entries(version.left_out);
  const labels = version.label_sets[0];
  return (
    <section className="card" data-testid="version" aria-label={`Version ${version.number}`}>
      <div className="row">
        <h2>Version {version.number}</h2>
        <span className="muted">{localTime(version.created_at)} by {version.created_by} · {membersOf(version)} members</span>
        {version.removed > 0 && <span className="chip warn">{version.removed} taken out by withdrawals since</span>}
        {!version.intact && <span className="chip bad" data-testid="not-intact">✕ not what was frozen</span>}
        <span className="grow" />
        <a className="button" href={cohorts.exportUrl(cohort.id, version.number)} download>Export</a>
      </div>
      <table className="plain">
        <thead>
          <tr>
            <th scope="col">Part</th><th scope="col">Members</th>
            <th scope="col">{version.grouping === "patient" ? "Patients" : "Groups, as declared"}</th>
            <th scope="col">Labels{labels ? ` (set ${labels.number})` : ""}</th>
          </tr>
        </thead>
        <tbody>
          {version.parts.map((part) => (
            <tr key={part.part} data-testid={`part-${part.part}`}>
              <td>{part.part}</td>
              <td className="number">{part.members}</td>
              <td className="number">{part.groups}</td>
              <td>
                {part.part === "test"
                  ? <span className="chip warn">locked</span>
                  : labels ? countsText(labels.counts[part.part] ?? {}) : <span className="muted">no label set</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <div data-testid="left-out">
        <h3>Left out</h3>
        {left.length === 0 && <p className="muted">Nobody that was looked at.</p>}
        {left.length > 0 && <ul>{left.map(([reason, n]) => <li key={reason}>{n}: {LEFT_OUT_WORDS[reason] ?? reason}</li>)}</ul>}
      </div>
      {labels && <p className="muted">Label set {labels.number} of {version.label_sets.length}, {localTime(labels.created_at)} by {labels.created_by}; {labels.complete} of the members outside the test part were judged completely.</p>}
      <p className="muted sub">SHA-256 <code>{version.sha256.slice(0, 16)}…</code></p>
    </section>
  );
}

function Confirm({ title, word, act, onDone, onClose, children }: {
  title: string;
  word: string;
  act: () => Promise<Cohort>;
  onDone: (cohort: Cohort) => void;
  onClose: () => void;
  children: string;
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const go = (): void => {
    setBusy(true);
    setError(null);
    act().then(onDone, (problem: unknown) => { setError(problem); setBusy(false); });
  };
  return (
    <Dialog title={title} onClose={onClose} testId="confirm">
      <p>{children}</p>
      {error !== null && <ErrorNote error={error} />}
      <div className="actions">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="button" className="primary" disabled={busy} onClick={go} data-testid="confirm-yes">{busy ? "One moment…" : word}</button>
      </div>
    </Dialog>
  );
}
