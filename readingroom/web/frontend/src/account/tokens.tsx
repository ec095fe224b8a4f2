// API tokens as a table and a form: on one's own page, and for machines on the administrator's.

import { type FormEvent, useState } from "react";
import type { NewToken, TokenInfo, TokenMade } from "../api/access";
import { ErrorNote } from "../components/ErrorNote";
import { localTime } from "../format";

const DAYS = [7, 30, 90, 366];

function state(token: TokenInfo): { words: string; tone: string } {
  if (token.revoked_at) return { words: "revoked", tone: "" };
  if (new Date(token.expires_at).getTime() <= Date.now()) return { words: "ended", tone: "" };
  return { words: `until ${localTime(token.expires_at).slice(0, 10)}`, tone: "good" };
}

export function TokenTable({ tokens, onRevoke }: { tokens: TokenInfo[]; onRevoke: (id: string) => void }) {
  if (!tokens.length) return <p className="muted">None yet.</p>;
  return (
    <table className="plain">
      <thead>
        <tr>
          <th scope="col">Name</th><th scope="col">May</th><th scope="col">Good</th><th scope="col">Last used</th>
          <th scope="col"><span className="visually-hidden">Revoke</span></th>
        </tr>
      </thead>
      <tbody>
        {tokens.map((token) => {
          const { words, tone } = state(token);
          return (
            <tr key={token.id} data-testid="token">
              <td>{token.name}</td>
              <td>{token.scopes.join(", ")}{token.project && <span className="muted"> in {token.project}</span>}</td>
              <td className="number"><span className={`chip ${tone}`}>{words}</span></td>
              <td className="number">{token.used_at ? localTime(token.used_at) : "never"}</td>
              <td>
                {tone && (
                  <button type="button" className="quiet" onClick={() => onRevoke(token.id)} aria-label={`Revoke ${token.name}`}>Revoke</button>
                )}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

/** `make` makes it; what it gives is shown this once. */
export function NewTokenForm({ scopes, projects, make, onMade }: {
  scopes: string[];
  projects: string[];
  make: (token: NewToken) => Promise<TokenMade>;
  onMade: () => void;
}) {
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [days, setDays] = useState(90);
  const [project, setProject] = useState("");
  const [made, setMade] = useState<TokenMade | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const toggle = (scope: string): void => {
    const next = new Set(chosen);
    if (!next.delete(scope)) next.add(scope);
    setChosen(next);
  };
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setMade(null);
    try {
      setMade(await make({ name, scopes: [...chosen], days, project }));
      setName("");
      setChosen(new Set());
      onMade();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  return (
    <form className="stack" onSubmit={(event) => void submit(event)} aria-busy={busy}>
      {made && (
        <div className="note good" role="status">
          ✓ This is the token. Keep it now: it is not shown again.
          <pre className="command" data-testid="token-made">{made.token}</pre>
        </div>
      )}
      <fieldset className="choices many">
        <legend>A new token may</legend>
        {scopes.map((scope) => (
          <label key={scope}>
            <input type="checkbox" checked={chosen.has(scope)} onChange={() => toggle(scope)} data-testid={`scope-${scope}`} /> {scope}
          </label>
        ))}
      </fieldset>
      <div className="row low">
        <label className="field">
          What uses it
          <input value={name} onChange={(event) => setName(event.target.value)} maxLength={64} required data-testid="token-name" />
        </label>
        <label className="field">
          Good for
          <select value={days} onChange={(event) => setDays(Number(event.target.value))}>
            {DAYS.map((one) => <option key={one} value={one}>{one} days</option>)}
          </select>
        </label>
        {projects.length > 0 && (
          <label className="field">
            In
            <select value={project} onChange={(event) => setProject(event.target.value)}>
              <option value="">every project of the account</option>
              {projects.map((one) => <option key={one} value={one}>{one}</option>)}
            </select>
          </label>
        )}
        <button type="submit" disabled={busy || chosen.size === 0} data-testid="token-make">Make a token</button>
      </div>
      {error !== null && <ErrorNote error={error} />}
    </form>
  );
}
