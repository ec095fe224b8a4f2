import { type FormEvent, useState } from "react";
import { access, type GlassBy } from "../api/access";
import { useLoaded } from "../pages/useLoaded";
import { go, studyPath } from "../router";
import { Dialog } from "./Dialog";
import { ErrorNote } from "./ErrorNote";

const NAMED_BY: { by: GlassBy; words: string }[] = [
  { by: "patient_id", words: "Patient identifier" },
  { by: "accession_number", words: "Accession number" },
];

/** Emergency access: opens what is closed to the account, with a reason. `studyId`: the study of the page it is on. */
export function GlassDialog({ studyId, onOpened, onClose }: { studyId?: string; onOpened: () => void; onClose: () => void }) {
  const { value: glass, error: unknown, again } = useLoaded(access.glass);
  const [by, setBy] = useState<GlassBy>(studyId ? "study_id" : "patient_id");
  const [value, setValue] = useState("");
  const [reason, setReason] = useState("");
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const needsText = glass?.reasons.find((one) => one.code === reason)?.needs_text ?? false;

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const opened = await access.breakGlass({ by, value: studyId ?? value, reason, text });
      onOpened();
      // Several studies of the patient are on the worklist now.
      go(opened.study_ids.length === 1 && opened.study_ids[0] ? studyPath(opened.study_ids[0]) : "/");
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };

  return (
    <Dialog title="Emergency access" onClose={onClose} testId="glass-dialog">
      <form className="stack" onSubmit={(event) => void submit(event)} aria-busy={busy}>
        <p className="note warn">
          This opens {studyId ? "a study that is closed to you" : "a patient's studies that are closed to you"} for{" "}
          {glass?.minutes ?? 60} minutes. It is written down, also when nothing is found, and administrators are told at once.
        </p>
        {unknown !== null && <ErrorNote error={unknown} onRetry={again} />}
        {!studyId && (
          <>
            <div className="segmented" role="group" aria-label="Named by">
              {NAMED_BY.map((one) => (
                <button key={one.by} type="button" aria-pressed={by === one.by} onClick={() => setBy(one.by)}>{one.words}</button>
              ))}
            </div>
            <label className="field">
              {NAMED_BY.find((one) => one.by === by)?.words}, exactly
              <input
                value={value} onChange={(event) => setValue(event.target.value)} autoFocus required maxLength={64}
                autoComplete="off" spellCheck={false} data-testid="glass-value"
              />
            </label>
          </>
        )}
        <label className="field">
          Reason
          <select
            value={reason} onChange={(event) => setReason(event.target.value)} required disabled={glass === null}
            data-testid="glass-reason"
          >
            <option value="" disabled>{glass === null && unknown === null ? "Loading…" : "Choose…"}</option>
            {glass?.reasons.map((one) => <option key={one.code} value={one.code}>{one.meaning}</option>)}
          </select>
        </label>
        <label className="field">
          In a few words{needsText ? "" : " (may stay empty)"}
          <textarea
            value={text} onChange={(event) => setText(event.target.value)} required={needsText} maxLength={500}
            data-testid="glass-text"
          />
        </label>
        {error !== null && <ErrorNote error={error} />}
        <div className="actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" className="primary" disabled={busy || glass === null} data-testid="glass-open">
            {busy ? "Opening…" : "Open, and tell administrators"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
