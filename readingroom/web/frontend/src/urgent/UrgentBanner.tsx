// The alerts above every page: in the flow, so that they cover no image. Read aloud when one comes; nothing in it ticks,
// so that it is read once.

import { follow } from "../components/Top";
import { localTime } from "../format";
import { studyOf, studyPath } from "../router";
import type { UrgentAlert } from "../api/urgent";
import { ErrorNote } from "../components/ErrorNote";
import type { Urgency } from "./useUrgent";
import "../styles/urgent.css";

const SHOWN = 2;

export function UrgentBanner({ urgency, path }: { urgency: Urgency; path: string }) {
  const here = studyOf(path);
  // The page of all of them shows them itself.
  const lines = path === "/urgent" ? [] : first(urgency.items, here);
  const more = urgency.items.length - lines.length;
  return (
    <section className="urgent" aria-label="Urgent findings" aria-live="assertive" data-testid="urgent-banner">
      {lines.map((one) => (
        <div key={one.alert_id} className="urgent-line" data-testid="urgent-alert" data-state={one.state}>
          <strong>{one.state === "escalated" ? "⚠⚠ Still urgent" : "⚠ Urgent"}: {one.finding}</strong>
          <span>
            {one.simulated && "Simulated: "}{one.StudyDescription || "study"}, raised {localTime(one.times.raised).slice(-5)} by {one.reader}
            {one.state === "escalated" && ". Nobody has acknowledged it."}
          </span>
          <span className="grow" />
          {one.study_id === here
            ? <span className="muted">this study</span>
            : <a className="button" href={studyPath(one.study_id)} onClick={follow(studyPath(one.study_id))} data-testid="urgent-open">Open study</a>}
          {one.may_acknowledge && (
            <button type="button" className="primary" onClick={() => urgency.acknowledge(one)} data-testid="urgent-acknowledge">Acknowledge</button>
          )}
        </div>
      ))}
      {lines.length > 0 && more > 0 && (
        <div className="urgent-line"><a href="/urgent" onClick={follow("/urgent")}>{more} more</a></div>
      )}
      {urgency.refused !== null && <ErrorNote error={urgency.refused} />}
      {urgency.error !== null && (
        <div className="urgent-line" data-testid="urgent-unknown">Urgent findings cannot be asked for at the moment: there may be some that are not shown.</div>
      )}
    </section>
  );
}

/** The alerts of the study that is open, then those that wait longest. */
function first(items: UrgentAlert[], here: string | null): UrgentAlert[] {
  return [...items.filter((one) => one.study_id === here), ...items.filter((one) => one.study_id !== here)].slice(0, SHOWN);
}
