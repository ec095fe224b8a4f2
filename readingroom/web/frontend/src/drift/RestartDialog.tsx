import { type FormEvent, useState } from "react";
import { drift, type DriftWatch } from "../api/drift";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";

/** Say what has changed, so that the reader is held against how things are from now on. */
export function RestartDialog({ watch, onDone, onClose }: { watch: DriftWatch; onDone: () => void; onClose: () => void }) {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);
  const send = (event: FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    drift.restart(watch.id, reason).then(onDone, (problem: unknown) => { setRefused(problem); setBusy(false); });
  };
  return (
    <Dialog title="New baseline" onClose={onClose} testId="restart-dialog">
      <form onSubmit={send} className="stack">
        <p>
          The next readings of {watch.reader} {watch.version} on {watch.scanner} become what later ones are held against. Do this only where
          the change is known and has been looked into. Until the new baselines are made, nothing here raises an alarm.
        </p>
        <label className="field">
          What has changed
          <input value={reason} onChange={(event) => setReason(event.target.value)} required maxLength={400} autoFocus data-testid="restart-reason" />
        </label>
        <p className="muted">Shown to everybody who sees this page: name no patient.</p>
        {refused !== null && <ErrorNote error={refused} />}
        <div className="actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" className="primary" disabled={busy || !reason.trim()} data-testid="restart-save">Begin new baselines</button>
        </div>
      </form>
    </Dialog>
  );
}
