import type { AuditState } from "../api/types";
import { localTime } from "../format";

/** Whether the audit is as it was written, as far as the last look at it goes. */
export function AuditStateLine({ state }: { state: AuditState }) {
  const { checked, sealed, sent } = state;
  const broken = Boolean(checked?.problem);
  return (
    <div className={`note ${broken ? "bad" : checked ? "good" : "info"}`} role={broken ? "alert" : "status"} data-testid="audit-state">
      {broken && <strong>The audit is not as it was written. {checked?.problem} </strong>}
      <span className="number">
        {checked
          ? `Chain intact up to event ${checked.event}, looked through ${localTime(checked.at)}.`
          : "Nobody has looked through the chain yet: the worker does so each hour."}
        {sealed ? ` Sealed up to event ${sealed.event}, ${localTime(sealed.at)}.` : " Not sealed yet."}
        {` Newest event: ${state.events}.`}
        {sent && ` Sent on: ${sent.waiting === 0 ? "everything" : `${sent.waiting} waiting`}${sent.last_error ? ` (${sent.last_error})` : ""}.`}
      </span>
      <span className="hint">Proof is <code>readingroom audit verify</code> on the server.</span>
    </div>
  );
}
