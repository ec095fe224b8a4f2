import { type FormEvent, useState } from "react";
import { type Cohort, cohorts } from "../api/cohorts";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { nextLook } from "./words";

/** The one door to the locked test part: it asks which reader and why, and says how many looks there were. */
export function EvaluateDialog({ cohort, version, onDone, onClose }: {
  cohort: Cohort;
  version: number;
  onDone: (cohort: Cohort) => void;
  onClose: () => void;
}) {
  const [reader, setReader] = useState("");
  const [readerVersion, setReaderVersion] = useState("");
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    cohorts.evaluate(cohort.id, { version, reader, reader_version: readerVersion, why })
      .then(onDone, (problem: unknown) => { setError(problem); setBusy(false); });
  };
  return (
    <Dialog title={`Evaluate on the locked test part of version ${version}`} onClose={onClose} testId="evaluate-dialog">
      <form className="stack" onSubmit={submit}>
        <p className="note warn" data-testid="next-look">{nextLook(cohort.evaluations)}</p>
        <div className="row low">
          <label className="field">
            Reader
            <input value={reader} onChange={(event) => setReader(event.target.value)} required maxLength={64} autoComplete="off" data-testid="evaluate-reader" />
          </label>
          <label className="field">
            Its version (if several have read)
            <input value={readerVersion} onChange={(event) => setReaderVersion(event.target.value)} maxLength={32} autoComplete="off" />
          </label>
        </div>
        <label className="field">
          Why
          <textarea value={why} onChange={(event) => setWhy(event.target.value)} required minLength={5} maxLength={500} rows={3} data-testid="evaluate-why" />
        </label>
        {error !== null && <ErrorNote error={error} />}
        <div className="actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" className="primary" disabled={busy} data-testid="evaluate-yes">{busy ? "Measuring…" : "Look, and be counted"}</button>
        </div>
      </form>
    </Dialog>
  );
}
