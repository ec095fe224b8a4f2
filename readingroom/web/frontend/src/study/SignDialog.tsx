import { Fragment, useState } from "react";
import { api } from "../api/client";
import type { Report, Study } from "../api/types";
import { useProof } from "../account/ProofDialog";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { dicomDate, personName } from "../format";
import { undecided } from "./review";
import type { ReportState } from "./useReport";

/** Shows whom and what is signed; the server checks the same again. */
export function SignDialog({ study, state, deciding, unsaved, onClose, onSigned }: {
  study: Study;
  /** A verdict is on its way to the server. */
  deciding: boolean;
  /** A finding is being added or edited and not yet saved. */
  unsaved: boolean;
  state: ReportState;
  onClose: () => void;
  onSigned: (report: Report) => void;
}) {
  const [acknowledged, setAcknowledged] = useState<ReadonlySet<string>>(new Set());
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const { proved, dialog } = useProof();
  const blocking = study.flags.filter((flag) => flag.blocks_signing);
  // The report's own flag (edited text older than its findings) is not among the study's.
  const own = (state.report?.flags ?? []).filter((flag) => flag.code === "text-outdated");
  const asking = [...study.flags, ...own].filter((flag) => flag.needs_acknowledgement && !flag.blocks_signing);
  // The server takes a signature only for the draft as it stands, so one that is about to change is waited for.
  const changing = deciding || state.changing;
  const ready = !changing && !unsaved && blocking.length === 0 && asking.every((flag) => acknowledged.has(flag.code)) && state.report !== null;
  // The server flags findings nobody has judged; said once is enough.
  const open = study.flags.some((flag) => flag.code === "undecided") ? 0 : undecided(study);

  const toggle = (code: string): void => {
    const next = new Set(acknowledged);
    if (!next.delete(code)) next.add(code);
    setAcknowledged(next);
  };

  const sign = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const saved = (await state.saveNow()) ?? state.report;
      const signed = await proved(() => api.sign(study.study_id, {
        etag: saved?.etag ?? "",
        revision: study.revision,
        patient_id: study.patient.PatientID,
        accession_number: study.AccessionNumber,
        acknowledged: [...acknowledged],
      }));
      onSigned(signed);
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };

  return (
    <Dialog title="Sign the report" onClose={onClose} testId="sign-dialog">
      <div className="stack">
        <dl className="facts number">
          <dt>Patient</dt><dd><strong>{personName(study.patient.PatientName)}</strong></dd>
          <dt>Identifier</dt><dd>{study.patient.PatientID || "none"}</dd>
          <dt>Born, sex</dt><dd>{dicomDate(study.patient.PatientBirthDate) || "–"}, {study.patient.PatientSex || "–"}</dd>
          <dt>Accession</dt><dd>{study.AccessionNumber || "none"}</dd>
          <dt>Study</dt><dd>{study.StudyDescription || "–"}, {dicomDate(study.StudyDate)}</dd>
          <dt>Revision</dt><dd>{study.revision}</dd>
          {study.assessments.map(({ table, edition, stated }) => stated && (
            <Fragment key={table}><dt>{table} {edition}</dt><dd data-testid="sign-assessment">{stated.category.meaning}</dd></Fragment>
          ))}
        </dl>
        {open > 0 && <p className="note warn">{open} {open === 1 ? "finding is" : "findings are"} undecided and will not be in the report.</p>}
        {!study.no_further_findings && <p className="note info">“No further findings” has not been said.</p>}
        {unsaved && <p className="note bad">✕ A finding you began to add or edit is not saved. Save or cancel it first.</p>}
        {blocking.map((flag) => <p key={flag.code} className="note bad">✕ {flag.text}</p>)}
        {asking.map((flag) => (
          <label key={flag.code} className="note warn">
            <input type="checkbox" checked={acknowledged.has(flag.code)} onChange={() => toggle(flag.code)} data-testid={`acknowledge-${flag.code}`} />{" "}
            {flag.text} I have seen this.
          </label>
        ))}
        {error !== null && <ErrorNote error={error} />}
      </div>
      <div className="actions">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="button" className="primary" disabled={!ready || busy} onClick={() => void sign()} data-testid="sign-confirm">
          {busy ? "Signing…" : changing ? "Updating the report…" : "Sign"}
        </button>
      </div>
      {dialog}
    </Dialog>
  );
}
