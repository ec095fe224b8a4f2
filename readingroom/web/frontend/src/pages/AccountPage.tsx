import { AppSection } from "../account/AppSection";
import { PasskeySection } from "../account/PasskeySection";
import { PasswordSection } from "../account/PasswordSection";
import { useProof } from "../account/ProofDialog";
import { SessionSection } from "../account/SessionSection";
import { TokenSection } from "../account/TokenSection";
import { may } from "../api/client";
import type { About, Account } from "../api/types";
import { ways } from "../api/ways";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "./useLoaded";

/** My account: one section for each thing a person may change about how they sign in. */
export function AccountPage({ account, about, onChanged }: { account: Account; about: About | null; onChanged: () => void }) {
  const { value: mine, error, again } = useLoaded(ways.mine);
  const { proved, dialog } = useProof();
  // A password that somebody else knows is changed before anything else.
  const open = !account.password_owed;
  const changed = (): void => {
    again();
    onChanged();
  };
  return (
    <main className="page" aria-busy={mine === null}>
      <h1>My account</h1>
      <p className="muted">{account.display_name} · {account.name} · {account.role}</p>
      {account.second_factor_owed && (
        <p className="note warn" data-testid="second-factor-owed">
          Your role must have a second factor. Set up an authenticator app or a passkey; then everything else opens.
        </p>
      )}
      {account.password_owed && (
        <p className="note warn" data-testid="password-owed">
          Your password was given to you by somebody else. Choose one that only you know; then everything else opens.
        </p>
      )}
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {mine === null && error === null && <p className="muted" role="status">Loading…</p>}
      {mine && (
        <div className="cards">
          {mine.has_password && <PasswordSection name={mine.name} onChanged={changed} />}
          {open && mine.has_password && <AppSection mine={mine} proved={proved} onChanged={changed} />}
          {open && mine.has_password && (
            <PasskeySection mine={mine} impossible={about?.no_passkeys ?? ""} proved={proved} onChanged={changed} />
          )}
          {open && <SessionSection />}
          {may(account, "token:create") && <TokenSection proved={proved} />}
          {!mine.has_password && (
            <section className="card">
              <h2>Sign-in</h2>
              <p>You sign in with {about?.provider ?? "an account you have elsewhere"}. Password and second factor are kept there.</p>
            </section>
          )}
        </div>
      )}
      {dialog}
    </main>
  );
}
