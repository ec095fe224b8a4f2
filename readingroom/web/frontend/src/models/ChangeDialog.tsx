import { type FormEvent, useState } from "react";
import { type ModelAction, models, type ModelVersion } from "../api/models";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";

const WORDS: Record<ModelAction, { title: string; what: string; button: string }> = {
  shadow: { title: "Put in shadow", what: "It will read every new study after the live version. What it finds is shown nowhere but on this page.", button: "Put in shadow" },
  promote: { title: "Promote", what: "It will read every new study, for people to see. The version that is live now retires; rolling back returns it.", button: "Make it live" },
  rollback: { title: "Roll back", what: "It retires, and the version that was live before it reads again. Studies already read stay as they are.", button: "Roll back" },
  retire: { title: "Retire", what: "It reads no more. Where it is live, the version installed with the program takes its place, if there is one.", button: "Retire" },
};

/** Changes a version's state; the reason is asked for, kept and shown. */
export function ChangeDialog({ model, action, proved, onDone, onClose }: {
  model: ModelVersion;
  action: ModelAction;
  proved: <T>(call: () => Promise<T>) => Promise<T>;
  onDone: () => void;
  onClose: () => void;
}) {
  const [why, setWhy] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const words = WORDS[action];
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    proved(() => models.change(model.id, { action, why })).then(onDone, (problem: unknown) => {
      setError(problem);
      setBusy(false);
    });
  };
  return (
    <Dialog title={`${words.title}: ${model.reader} ${model.version}`} onClose={onClose} testId="model-dialog">
      <form className="stack" onSubmit={submit} aria-busy={busy}>
        <p>{words.what}</p>
        <label className="field">
          Why (kept and shown; name no patient)
          <textarea value={why} onChange={(event) => setWhy(event.target.value)} required maxLength={1000} rows={3} autoFocus data-testid="model-why" />
        </label>
        {error !== null && <ErrorNote error={error} />}
        <div className="actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" className="primary" disabled={busy || !why.trim()} data-testid="model-confirm">{words.button}</button>
        </div>
      </form>
    </Dialog>
  );
}
