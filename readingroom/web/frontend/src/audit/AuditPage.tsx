// The audit for people: whether it holds, who saw a patient, and what somebody did.

import { useState } from "react";
import { api } from "../api/client";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";
import { AuditStateLine } from "./AuditStateLine";
import { PatientPart } from "./PatientPart";
import { PersonPart } from "./PersonPart";

const QUESTIONS = { patient: "Who saw this patient", person: "What did this person do" } as const;
type Question = keyof typeof QUESTIONS;

/** `studyId`: the page was opened from a study, and asks about its patient at once. */
export function AuditPage({ studyId }: { studyId: string | null }) {
  const [question, setQuestion] = useState<Question>("patient");
  const { value: state, error, again } = useLoaded(api.audit);
  return (
    <main className="page stack" aria-busy={state === null && error === null}>
      <div className="worklist-tools">
        <h1>Audit</h1>
        <div className="segmented" role="group" aria-label="What to ask">
          {(Object.keys(QUESTIONS) as Question[]).map((one) => (
            <button key={one} type="button" aria-pressed={question === one} onClick={() => setQuestion(one)}>
              {QUESTIONS[one]}
            </button>
          ))}
        </div>
      </div>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {state && <AuditStateLine state={state} />}
      {question === "patient" && <PatientPart studyId={studyId} />}
      {question === "person" && <PersonPart accounts={state?.accounts ?? []} />}
    </main>
  );
}
