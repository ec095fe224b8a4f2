import { useCallback, useState } from "react";
import { access } from "../api/access";
import type { Study } from "../api/types";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";

/** Whether everybody in the project sees the study, or only the people named on it. */
export function VisibilityDialog({ study, onChanged, onClose }: { study: Study; onChanged: () => void; onClose: () => void }) {
  const load = useCallback(() => access.whoSees(study.study_id), [study.study_id]);
  const { value: loaded, error, again } = useLoaded(load);
  const [only, setOnly] = useState<boolean | null>(null);
  const [changed, setChanged] = useState<ReadonlyMap<string, boolean>>(new Map());
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<unknown>(null);
  const restricted = only ?? loaded?.restricted ?? false;
  const named = (name: string, was: boolean): boolean => changed.get(name) ?? was;

  const save = async (): Promise<void> => {
    setBusy(true);
    setRefused(null);
    const people = loaded?.people.filter((person) => named(person.name, person.named)).map((person) => person.name) ?? [];
    try {
      await access.setWhoSees(study.study_id, { restricted, people: restricted ? people : [] });
      onChanged();
      onClose();
    } catch (problem) {
      setRefused(problem);
      setBusy(false);
    }
  };

  return (
    <Dialog title="Who sees this study" onClose={onClose} testId="visibility-dialog">
      <div className="stack" aria-busy={loaded === null || busy}>
        {error !== null && <ErrorNote error={error} onRetry={again} />}
        {loaded && (
          <>
            <div className="choices" role="radiogroup" aria-label="Who sees this study">
              <label>
                <input type="radio" name="sees" checked={!restricted} onChange={() => setOnly(false)} data-testid="sees-all" />{" "}
                Everybody in the project {study.project}
              </label>
              <label>
                <input type="radio" name="sees" checked={restricted} onChange={() => setOnly(true)} data-testid="sees-named" />{" "}
                Only you and the people named here
              </label>
            </div>
            {restricted && (
              <fieldset className="choices">
                <legend>Named</legend>
                {loaded.people.map((person) => (
                  <label key={person.name}>
                    <input
                      type="checkbox" checked={named(person.name, person.named)} data-testid={`named-${person.name}`}
                      onChange={(event) => setChanged(new Map(changed).set(person.name, event.target.checked))}
                    />{" "}
                    {person.display_name} <span className="muted">{person.name}</span>
                  </label>
                ))}
              </fieldset>
            )}
            {restricted && (
              <p className="muted">For all others it does not exist. Later studies of this patient are restricted to the same people.</p>
            )}
          </>
        )}
        {refused !== null && <ErrorNote error={refused} />}
      </div>
      <div className="actions">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="button" className="primary" disabled={busy || loaded === null} onClick={() => void save()} data-testid="visibility-save">Save</button>
      </div>
    </Dialog>
  );
}
