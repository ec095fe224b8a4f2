import { useState } from "react";
import { access, type SessionInfo } from "../api/access";
import { ErrorNote } from "../components/ErrorNote";
import { browserName, localTime } from "../format";
import { useLoaded } from "../pages/useLoaded";

/** The browsers that are signed in as me. */
export function SessionSection() {
  const { value: sessions, error, again } = useLoaded(access.sessions);
  const [refused, setRefused] = useState<unknown>(null);
  const end = (session: SessionInfo): void => {
    setRefused(null);
    access.endSession(session.id).then(again, setRefused);
  };
  return (
    <section className="card" data-testid="account-sessions" aria-busy={sessions === null}>
      <h2>Signed in</h2>
      <p className="muted">A session that is not yours: end it, and change your password.</p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {refused !== null && <ErrorNote error={refused} />}
      {sessions && (
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">Browser</th><th scope="col">Since</th><th scope="col">Last used</th>
              <th scope="col"><span className="visually-hidden">End</span></th>
            </tr>
          </thead>
          <tbody>
            {sessions.map((session) => (
              <tr key={session.id} data-testid="session">
                <td title={session.browser}>
                  {browserName(session.browser)}{" "}
                  {session.current && <span className="chip info">this one</span>}
                </td>
                <td className="number">{localTime(session.created_at)}</td>
                <td className="number">{localTime(session.seen_at)}</td>
                <td>
                  {!session.current && (
                    <button type="button" className="quiet" onClick={() => end(session)} aria-label={`End the session of ${browserName(session.browser)}`}>
                      End
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
