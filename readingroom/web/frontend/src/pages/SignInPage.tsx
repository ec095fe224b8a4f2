import { type FormEvent, useState } from "react";
import { ApiError, api } from "../api/client";
import type { About, Account, Session } from "../api/types";
import { passkeysKnown, ways } from "../api/ways";
import { ErrorNote } from "../components/ErrorNote";

export function SignInPage({ about, problem, onSignedIn }: {
  about: About | null;
  /** What went wrong at the provider, where the browser comes from there. */
  problem: ApiError | null;
  onSignedIn: (account: Account) => void;
}) {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [ticket, setTicket] = useState("");
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(problem);

  const attempt = async (way: () => Promise<Session | void>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const session = await way();
      if (session?.code_owed) setTicket(session.code_owed);
      else if (session?.account) onSignedIn(session.account);
    } catch (problem) {
      setError(problem);
      setCode("");
      if (problem instanceof ApiError && problem.code === "too-late") setTicket("");
    } finally {
      setPassword("");
      setBusy(false);
    }
  };
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void attempt(() => (ticket ? ways.code(ticket, code) : api.signIn(name, password)));
  };
  const passkeys = about !== null && about.no_passkeys === "" && passkeysKnown();

  return (
    <main className="sign-in">
      <form onSubmit={submit} aria-busy={busy}>
        <h1><img src="/favicon.svg" alt="" /> Reading Room</h1>
        {about?.demo && <p className="muted">Demo: the account and password are in the terminal that runs it.</p>}
        {about?.set_up_owed && (
          <p className="note info" data-testid="set-up-owed">
            No account exists yet. Open the link that <code>readingroom serve</code> printed where it runs: it makes the first administrator's.
          </p>
        )}
        {ticket ? (
          <label className="field">
            Code from your authenticator app, or a recovery code
            <input
              value={code} onChange={(event) => setCode(event.target.value)} autoComplete="one-time-code" autoFocus required
              autoCapitalize="none" spellCheck={false} data-testid="sign-in-code"
            />
          </label>
        ) : (
          <>
            <label className="field">
              Account
              <input
                value={name} onChange={(event) => setName(event.target.value)} autoComplete="username" autoFocus required
                autoCapitalize="none" spellCheck={false} data-testid="sign-in-name"
              />
            </label>
            <label className="field">
              Password
              <input
                type="password" value={password} onChange={(event) => setPassword(event.target.value)} required
                autoComplete="current-password" data-testid="sign-in-password"
              />
            </label>
          </>
        )}
        {error !== null && <ErrorNote error={error} />}
        <button type="submit" className="primary" disabled={busy} data-testid="sign-in-submit">
          {busy ? "Signing in…" : "Sign in"}
        </button>
        {ticket && <button type="button" className="quiet" onClick={() => setTicket("")}>Begin again</button>}
        {!ticket && (passkeys || about?.provider) && (
          <div className="other-ways">
            <p className="muted">or</p>
            {passkeys && (
              <button type="button" disabled={busy} onClick={() => void attempt(ways.passkey)} data-testid="sign-in-passkey">
                Sign in with a passkey
              </button>
            )}
            {about?.provider && (
              <button type="button" disabled={busy} onClick={() => void attempt(() => ways.provider("/session/oidc"))} data-testid="sign-in-provider">
                Sign in with {about.provider}
              </button>
            )}
          </div>
        )}
        <p className="muted number">{about ? `Version ${about.version}` : ""}</p>
      </form>
    </main>
  );
}
