import type { AuditLine } from "../api/types";
import { EventTable } from "./EventTable";

/** The events that were found, and a way to the older ones. */
export function Answer({ total, items, busy, withPatient, onMore }: {
  total: number;
  items: AuditLine[];
  busy: boolean;
  withPatient: boolean;
  onMore: () => void;
}) {
  if (total === 0) return <div className="empty"><p>There is no such event.</p></div>;
  return (
    <>
      <EventTable items={items} withPatient={withPatient} />
      <div className="row">
        <span className="muted number" role="status">{items.length} of {total} {total === 1 ? "event" : "events"}</span>
        {items.length < total && <button type="button" disabled={busy} onClick={onMore}>Older ones</button>}
      </div>
    </>
  );
}
