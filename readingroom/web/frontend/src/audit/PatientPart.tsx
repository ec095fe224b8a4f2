import { type FormEvent, useCallback, useEffect, useState } from "react";
import { api } from "../api/client";
import type { PatientAccess } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { dicomDate, localTime, personName } from "../format";
import { Answer } from "./Answer";
import { Who } from "./EventTable";
import { useAnswer } from "./useAnswer";

type About = { study_id: string } | { patient_id: string };

/** "Who saw this patient": by the patient's identifier, or at once where the page was opened from a study. */
export function PatientPart({ studyId }: { studyId: string | null }) {
  const [identifier, setIdentifier] = useState("");
  const [about, setAbout] = useState<About | null>(studyId ? { study_id: studyId } : null);
  const [everything, setEverything] = useState(false);
  const { answer, error, busy, ask, more } = useAnswer<PatientAccess>();

  const load = useCallback(() => {
    if (about) ask((offset) => api.whoSaw(about, everything, offset));
  }, [about, everything, ask]);
  useEffect(load, [load]);

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (identifier.trim()) setAbout({ patient_id: identifier.trim() });
  };

  return (
    <section className="stack" aria-label="Who saw this patient">
      <form className="worklist-tools" onSubmit={submit}>
        <input
          type="search" value={identifier} onChange={(event) => setIdentifier(event.target.value)} maxLength={64}
          placeholder="Patient identifier" aria-label="Patient identifier" autoComplete="off" data-testid="audit-patient-id"
        />
        <button type="submit" className="primary" disabled={!identifier.trim()}>Look up</button>
        <span className="muted">Each look is audited itself.</span>
      </form>
      {error !== null && <ErrorNote error={error} />}
      {busy && !answer && <p className="muted" role="status">Loading…</p>}
      {answer && (
        <>
          {answer.patients.map((patient, n) => (
            <p key={n} data-testid="audit-patient">
              <strong>{personName(patient.PatientName)}</strong>{" "}
              <span className="muted number">
                {[patient.PatientID || "no identifier", dicomDate(patient.PatientBirthDate), patient.PatientSex].filter(Boolean).join(" · ")}
              </span>
            </p>
          ))}
          {answer.people.length === 0 && <div className="empty"><p>Nobody has seen this patient here.</p></div>}
          {answer.people.length > 0 && (
            <table className="plain" data-testid="audit-people">
              <thead>
                <tr>
                  <th scope="col">Who</th><th scope="col">Role</th><th scope="col">Events</th>
                  <th scope="col">First</th><th scope="col">Last</th>
                </tr>
              </thead>
              <tbody>
                {answer.people.map((person) => (
                  <tr key={person.actor}>
                    <td><Who actor={person.actor} name={person.display_name} /></td>
                    <td>{person.role || "no account"}</td>
                    <td className="number">{person.times}</td>
                    <td className="number">{localTime(person.first)}</td>
                    <td className="number">{localTime(person.last)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          <div className="row">
            <div className="segmented" role="group" aria-label="Which events">
              <button type="button" aria-pressed={!everything} onClick={() => setEverything(false)}>Seen or changed</button>
              <button type="button" aria-pressed={everything} onClick={() => setEverything(true)}>Everything</button>
            </div>
          </div>
          <Answer {...answer} busy={busy} withPatient={false} onMore={more} />
        </>
      )}
    </section>
  );
}
