// What administrators must see and acknowledge: broken glass, attempts at it that found nothing, an altered audit, drift.

import { useState } from "react";
import { access, type Alert } from "../api/access";
import type { Account } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { localTime } from "../format";
import { useLoaded } from "../pages/useLoaded";
import { auditPath } from "../router";
import { follow } from "../components/Top";

const KINDS: Record<string, string> = {
  "glass-broken": "Opened a closed study",
  "glass-missed": "Tried to open a closed study; nothing was found",
  "audit-altered": "The audit is not as it was written",
  drift: "A reader's numbers have moved",
  "urgent-waiting": "Nobody acknowledges an urgent finding",
};

/** `onSeen`: the count in the bar may have changed. */
export function AlertsPage({ me, onSeen }: { me: Account; onSeen: () => void }) {
  const { value, error, again } = useLoaded(access.alerts);
  const [refused, setRefused] = useState<unknown>(null);
  const acknowledge = (alert: Alert): void => {
    setRefused(null);
    access.acknowledge(alert.id).then(() => { again(); onSeen(); }, setRefused);
  };
  return (
    <main className="page stack" aria-busy={value === null}>
      <div className="row">
        <h1>Alerts</h1>
        <button type="button" onClick={again}>Refresh</button>
      </div>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {refused !== null && <ErrorNote error={refused} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value?.items.length === 0 && <div className="empty"><p>Nothing has raised an alert.</p></div>}
      {value && value.items.length > 0 && (
        <table className="plain" data-testid="alerts">
          <thead>
            <tr>
              <th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Why, as they say</th>
              <th scope="col">Seen to</th>
            </tr>
          </thead>
          <tbody>
            {value.items.map((alert) => (
              <tr key={alert.id} data-testid="alert" data-open={alert.acknowledged_at === null}>
                <td className="number">{localTime(alert.at)}</td>
                <td className="keep">{alert.actor}</td>
                <td>
                  {KINDS[alert.kind] ?? alert.kind}
                  {alert.study_id && (
                    <div><a href={auditPath(alert.study_id)} onClick={follow(auditPath(alert.study_id))}>Who saw this patient</a></div>
                  )}
                  {alert.kind === "drift" && <div><a href="/drift" onClick={follow("/drift")}>Charts</a></div>}
                </td>
                <td>{alert.text}</td>
                <td className="keep">
                  {alert.acknowledged_at
                    ? <span className="muted">✓ {alert.acknowledged_by}, {localTime(alert.acknowledged_at)}</span>
                    : alert.actor === me.name
                      ? <span className="muted">Another administrator does</span>
                      : <button type="button" onClick={() => acknowledge(alert)} data-testid="acknowledge">Acknowledge</button>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </main>
  );
}
