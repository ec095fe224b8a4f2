import { type FormEvent, useState } from "react";
import { NewPassword } from "../account/NewPassword";
import type { About, Account } from "../api/types";
import { ways } from "../api/ways";
import { ErrorNote } from "../components/ErrorNote";
import { go } from "../router";

/** The first administrator's account. The link's token is behind the `#`, which the browser sends to nobody. */
export function SetUpPage({ about, onSignedIn }: { about: About | null; onSignedIn: (account: Account) => void }) {
  const [name, setName] = useState("");
  const [displayName, setDisplayName] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      const session = await ways.setUp({ token: window.location.hash.slice(1), name, display_name: displayName, password });
      // The token is used; it leaves the address, and the page that offers a second factor comes next.
      go("/account");
      if (session.account) onSignedIn(session.account);
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };

  if (about && !about.set_up_owed) {
    return (
      <main className="page">
        <h1>Set up already</h1>
        <p>There is an account; this link has done its work. <a href="/">Sign in</a></p>
      </main>
    );
  }
  return (
    <main className="sign-in">
      <form onSubmit={(event) => void submit(event)} aria-busy={busy}>
        <h1><img src="/favicon.svg" alt="" /> Welcome</h1>
        <p className="muted">
          This makes the first administrator's account. Administrators add accounts and look after the system; findings and reports are for
          radiologists.
        </p>
        <label className="field">
          Account
          <input
            value={name} onChange={(event) => setName(event.target.value)} autoComplete="username" autoFocus required maxLength={64}
            autoCapitalize="none" spellCheck={false} data-testid="set-up-name"
          />
        </label>
        <label className="field">
          Your name, as others see it
          <input
            value={displayName} onChange={(event) => setDisplayName(event.target.value)} autoComplete="name" maxLength={128}
            data-testid="set-up-display-name"
          />
        </label>
        <NewPassword name={name} password={password} again={again} onPassword={setPassword} onAgain={setAgain} />
        {error !== null && <ErrorNote error={error} />}
        <button type="submit" className="primary" disabled={busy || !password || password !== again} data-testid="set-up-submit">
          {busy ? "Making the account…" : "Make the account"}
        </button>
        <p className="muted">Next you can add an authenticator app or a passkey.</p>
      </form>
    </main>
  );
}
