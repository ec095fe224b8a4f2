// Norms: volumes and cortical thickness of one person against healthy people of the same age, sex and head size.

import { useCallback, useState } from "react";
import { type Answer, norms } from "../api/norms";
import { ErrorNote } from "../components/ErrorNote";
import { follow } from "../components/Top";
import { useLoaded } from "../pages/useLoaded";
import { studyPath } from "../router";
import { type Asked, NormsForm } from "./NormsForm";
import { NormsResult } from "./NormsResult";
import "../styles/norms.css";

export function NormsPage() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [found, setFound] = useState<{ answer: Answer; asked: Asked; number: number } | null>(null);
  const ask = (asked: Asked): void => {
    setBusy(true);
    setError(null);
    norms.assess(asked)
      .then((answer) => setFound((before) => ({ answer, asked, number: (before?.number ?? 0) + 1 })), setError)
      .finally(() => setBusy(false));
  };
  return (
    <main className="page stack" aria-busy={busy}>
      <h1>Norms</h1>
      <p className="muted">
        How far brain volumes and cortical thickness, as FreeSurfer measured them, are from those of healthy people of the same age, sex and head size. Volumes of
        other programs have other borders: there is no norm for them. What is sent is not kept, and names in the files are not sent.
      </p>
      <NormsForm busy={busy} onAsk={ask} />
      {error !== null && <ErrorNote error={error} />}
      {!found && error === null && (
        <div className="empty" data-testid="norms-empty">
          <p>Nothing is shown yet.</p>
          <p className="muted">Choose the three files of FreeSurfer's folder stats. A study whose measures came as a structured report shows them by itself.</p>
        </div>
      )}
      {found && <NormsResult key={found.number} answer={found.answer} age={found.asked.age_years} sex={found.asked.sex} />}
    </main>
  );
}

/** The same for the measures that came with a study. */
export function StudyNormsPage({ studyId }: { studyId: string }) {
  const { value, error, again } = useLoaded(useCallback(() => norms.ofStudy(studyId), [studyId]));
  const person = value?.person;
  return (
    <main className="page stack" aria-busy={value === null && error === null}>
      <div className="row">
        <h1>Norms of this study</h1>
        <a href={studyPath(studyId)} onClick={follow(studyPath(studyId))}>Back to the study</a>
      </div>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value && person && (
        <>
          <p className="muted">{person.age_years === null ? "Age not known" : `${person.age_years.toFixed(0)} years`}, {person.sex === "F" ? "female" : person.sex === "M" ? "male" : "sex not known or neither"}, as the study says.</p>
          <NormsResult answer={value.answer} age={person.age_years ?? 0} sex={person.sex === "M" ? "M" : "F"} />
        </>
      )}
    </main>
  );
}
