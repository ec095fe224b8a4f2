import { api } from "../api/client";
import type { About, Study } from "../api/types";
import { Badge } from "../components/Chips";
import { follow } from "../components/Top";
import { dicomDate, localTime, personName } from "../format";
import { auditPath } from "../router";
import type { StudyState } from "./useStudy";

/** Who and what is shown, and all that must be known before it is read: flags, tasks, readers that may run again. */
export function StudyHead({ study, about, state, onConsent, onWhoSees, onHelp }: {
  study: Study;
  about: About | null;
  state: StudyState;
  onConsent: () => void;
  onWhoSees: () => void;
  onHelp: () => void;
}) {
  const { patient } = study;
  const control = study.can.includes("workflow:control");
  const rerun = study.readings.some((reading) => reading.state === "failed");
  return (
    <header className="study-head">
      <a href="/" onClick={follow("/")} aria-label="Back to the worklist">← Worklist</a>
      <span className="patient">{personName(patient.PatientName)}</span>
      <span className="muted number">
        {[patient.PatientID || "no identifier", dicomDate(patient.PatientBirthDate), patient.PatientSex].filter(Boolean).join(" · ")}
      </span>
      <span className="number">
        {[study.StudyDescription, dicomDate(study.StudyDate), study.AccessionNumber && `accession ${study.AccessionNumber}`].filter(Boolean).join(" · ")}
      </span>
      <span className="muted number">revision {study.revision} · {study.instances} images</span>
      {study.simulated && <Badge tone="warn">simulated</Badge>}
      {study.held && <Badge tone="bad">held</Badge>}
      {study.partial && <Badge tone="warn">partial</Badge>}
      {study.restricted && <Badge tone="warn" title="Only the people named on it see it">restricted</Badge>}
      {study.project !== "care" && <span className="muted">project {study.project}</span>}
      <span className="grow" />
      {control && study.revision === 0 && (
        <button type="button" disabled={state.busy} onClick={() => void state.act(() => api.ready(study.study_id)).then(state.reload)} data-testid="mark-ready">All images are here</button>
      )}
      {control && rerun && (
        <button type="button" disabled={state.busy} onClick={() => void state.act(() => api.reread(study.study_id)).then(state.reload)} data-testid="reread">Read again</button>
      )}
      {study.can.includes("study:restrict") && (
        <button type="button" onClick={onWhoSees} data-testid="open-visibility">Who sees it…</button>
      )}
      {study.can.includes("audit:read") && (
        <a className="button" href={auditPath(study.study_id)} onClick={follow(auditPath(study.study_id))} data-testid="who-saw">
          Who saw this patient
        </a>
      )}
      {about?.viewer_url && (
        <a
          className="button" target="_blank" rel="noreferrer" data-testid="open-ohif"
          href={`${about.viewer_url.replace(/\/$/, "")}/open/${encodeURIComponent(study.study_id)}`}
        >
          Open in OHIF
        </a>
      )}
      {study.can.includes("consent:read") && (
        <button type="button" onClick={onConsent} data-testid="open-consent">Consent <kbd>c</kbd></button>
      )}
      <button type="button" className="quiet" onClick={onHelp} data-testid="show-keys">Keys <kbd>?</kbd></button>
    </header>
  );
}

export function StudyFlags({ study, state }: { study: Study; state: StudyState }) {
  const judge = study.can.includes("finding:judge");
  if (!study.flags.length && !study.tasks.length && !study.glass_until) return null;
  return (
    <div className="study-flags" data-testid="study-flags">
      {study.glass_until && (
        <div className="note warn" data-testid="glass-open-until">
          ⚠ Open to you by emergency access until {localTime(study.glass_until).slice(-5)}. Administrators have been told.
        </div>
      )}
      {study.flags.map((flag) => (
        <div key={flag.code} className={flag.blocks_signing ? "note bad" : flag.needs_acknowledgement ? "note warn" : "note info"} data-testid="study-flag" data-code={flag.code}>
          {flag.blocks_signing ? "✕ " : flag.needs_acknowledgement ? "⚠ " : ""}{flag.text}
          {flag.blocks_signing && " Signing is not possible."}
        </div>
      ))}
      {study.tasks.map((task) => (
        <div key={task.id} className="note warn row" data-testid="study-task">
          <span className="grow">{task.text} <span className="muted">({localTime(task.created_at)})</span></span>
          {judge && (
            <button type="button" disabled={state.busy} onClick={() => void state.act(() => api.taskDone(study.study_id, task.id)).then(state.reload)}>Done</button>
          )}
        </div>
      ))}
    </div>
  );
}
