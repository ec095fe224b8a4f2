// All alerts one may see, with the times of each from the first image to the signature.

import { useEffect } from "react";
import { urgent, type UrgentAlert } from "../api/urgent";
import { UrgentChip } from "../components/Chips";
import { ErrorNote } from "../components/ErrorNote";
import { follow } from "../components/Top";
import { localTime } from "../format";
import { useLoaded } from "../pages/useLoaded";
import { studyPath } from "../router";
import { CLOSED_WHY, sinceReceived, STOPS } from "./words";
import type { Urgency } from "./useUrgent";

export function UrgentPage({ urgency }: { urgency: Urgency }) {
  const { value, error, again } = useLoaded(urgent.everything);
  // The list of those that wait is asked for all the time: when it changes, so has this one.
  useEffect(again, [again, urgency.items]);
  return (
    <main className="page stack" aria-busy={value === null}>
      <div className="row">
        <h1>Urgent findings</h1>
        <span className="grow" />
        <a href="/simulated-day" onClick={follow("/simulated-day")} data-testid="to-simulated-day">What triage saves and costs: a simulated day</a>
      </div>
      <p className="muted">
        A reader has found what cannot wait. Its study is on top of the worklist until it is signed; people are asked to look until one of them has acknowledged it.
        Small times count from the first image.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value?.items.length === 0 && <div className="empty" data-testid="urgent-empty"><p>No reader has found anything urgent in a study that you may see.</p></div>}
      {value && value.items.length > 0 && (
        <table className="plain" data-testid="urgent-list">
          <thead>
            <tr>
              <th scope="col">Finding</th><th scope="col">State</th>
              {STOPS.map((stop) => <th key={stop.key} scope="col">{stop.name}</th>)}
              <th scope="col"><span className="visually-hidden">Acknowledge</span></th>
            </tr>
          </thead>
          <tbody>{value.items.map((one) => <Line key={one.alert_id} one={one} urgency={urgency} />)}</tbody>
        </table>
      )}
    </main>
  );
}

function Line({ one, urgency }: { one: UrgentAlert; urgency: Urgency }) {
  const path = studyPath(one.study_id);
  return (
    <tr data-testid="urgent-row" data-state={one.state}>
      <td>
        <a href={path} onClick={follow(path)}>{one.finding}</a>
        <div className="sub">{one.StudyDescription || "(no description)"} · {one.reader}{one.simulated && " · simulated"}</div>
      </td>
      <td>
        <UrgentChip mark={one} />
        {one.closed_why && <div className="sub">{CLOSED_WHY[one.closed_why] ?? one.closed_why}</div>}
        {one.step > 0 && <div className="sub">escalated {one.step === 1 ? "once" : `${one.step} times`}</div>}
      </td>
      {STOPS.map((stop) => {
        const at = one.times[stop.key];
        return (
          <td key={stop.key} className="number keep" data-stop={stop.key}>
            {at ? localTime(at).slice(-5) : <span className="muted">–</span>}
            {at && <div className="sub number">{stop.key === "received" ? localTime(at).slice(0, -6) : sinceReceived(one.times.received, at)}</div>}
            {stop.key === "shown" && one.shown_to && <div className="sub">{one.shown_to}</div>}
            {stop.key === "acknowledged" && one.acknowledged_by && <div className="sub">{one.acknowledged_by}</div>}
          </td>
        );
      })}
      <td>
        {one.may_acknowledge && (
          <button type="button" className="primary" onClick={() => urgency.acknowledge(one)} data-testid="urgent-acknowledge">Acknowledge</button>
        )}
      </td>
    </tr>
  );
}
