import { type FormEvent, useState } from "react";
import type { MyAccount } from "../api/types";
import { ways } from "../api/ways";
import { ErrorNote } from "../components/ErrorNote";
import { RecoveryCodes } from "./RecoveryCodes";

type Proved = <T>(call: () => Promise<T>) => Promise<T>;

/** The authenticator app: set up by a picture and a first code, its recovery codes, its removal. */
export function AppSection({ mine, proved, onChanged }: { mine: MyAccount; proved: Proved; onChanged: () => void }) {
  const [begun, setBegun] = useState<{ secret: string; uri: string; qr: string } | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await work();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const begin = () => attempt(async () => setBegun(await proved(ways.beginApp)));
  const confirm = (event: FormEvent): void => {
    event.preventDefault();
    void attempt(async () => {
      setCode("");
      setCodes((await ways.confirmApp(code)).recovery_codes);
      setBegun(null);
    });
  };
  const renew = () => attempt(async () => setCodes((await proved(ways.newRecoveryCodes)).recovery_codes));
  const remove = () => attempt(async () => {
    await proved(ways.removeApp);
    onChanged();
  });
  // Only now may the page change: before, the codes would be gone unread.
  const codesKept = (): void => {
    setCodes(null);
    onChanged();
  };

  return (
    <section className="card" data-testid="account-app" aria-busy={busy}>
      <h2>Authenticator app</h2>
      {codes && <RecoveryCodes codes={codes} onDone={codesKept} />}
      {mine.app && !codes && (
        <>
          <p><span className="chip good" data-testid="app-on">✓ on</span> Signing in asks for the app's code after the password.</p>
          <p className={mine.recovery_codes_left < 3 ? "note warn" : "muted"}>
            {mine.recovery_codes_left} recovery {mine.recovery_codes_left === 1 ? "code is" : "codes are"} left.
          </p>
        </>
      )}
      {!mine.app && !begun && !codes && <p className="muted">A code from your phone after the password, so that a stolen password alone opens nothing.</p>}
      {begun && (
        <form className="stack" onSubmit={confirm}>
          <p>Scan this with an authenticator app (Aegis, FreeOTP, Google or Microsoft Authenticator …), then type the code it shows.</p>
          <div className="qr-row">
            <img className="qr" src={begun.qr} alt="QR code for the authenticator app" />
            <div className="stack">
              <details>
                <summary>It cannot be scanned</summary>
                <p className="muted">Type this key into the app:</p>
                <pre className="command" data-testid="app-secret">{begun.secret}</pre>
              </details>
              <label className="field">
                Code
                <input
                  value={code} onChange={(event) => setCode(event.target.value)} inputMode="numeric" autoComplete="one-time-code"
                  required autoFocus data-testid="app-code"
                />
              </label>
              <div className="row">
                <button type="submit" className="primary" disabled={busy} data-testid="app-confirm">Turn on</button>
                <button type="button" onClick={() => setBegun(null)}>Cancel</button>
              </div>
            </div>
          </div>
        </form>
      )}
      {error !== null && <ErrorNote error={error} />}
      {!begun && !codes && (
        <div className="row">
          {!mine.app && <button type="button" disabled={busy} onClick={() => void begin()} data-testid="app-begin">Set up an app</button>}
          {mine.app && <button type="button" disabled={busy} onClick={() => void renew()} data-testid="codes-renew">New recovery codes</button>}
          {mine.app && <button type="button" disabled={busy} onClick={() => void remove()} data-testid="app-remove">Remove the app</button>}
        </div>
      )}
    </section>
  );
}
