import { api } from "../api/client";
import { ErrorNote } from "../components/ErrorNote";
import { bytes, localTime } from "../format";
import { useLoaded } from "./useLoaded";

export function QuarantinePage() {
  const { value, error, again } = useLoaded(api.quarantine);
  return (
    <main className="page" aria-busy={value === null}>
      <div className="row">
        <h1>Quarantine</h1>
        <button type="button" onClick={again}>Refresh</button>
      </div>
      <p className="muted">What came in and could not be filed: kept as it came, never read, never sent on.</p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value?.items.length === 0 && <div className="empty"><p>Nothing is in quarantine.</p></div>}
      {value && value.items.length > 0 && (
        <table className="plain" data-testid="quarantine">
          <thead>
            <tr><th scope="col">Received</th><th scope="col">Why</th><th scope="col">Code</th><th scope="col">From</th><th scope="col">Size</th></tr>
          </thead>
          <tbody>
            {value.items.map((item) => (
              <tr key={item.id} data-testid="quarantine-row">
                <td className="number">{localTime(item.received_at)}</td>
                <td>{item.reason}</td>
                <td><span className="chip warn">{item.code}</span></td>
                <td>{item.source}</td>
                <td className="number">{bytes(item.size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </main>
  );
}
