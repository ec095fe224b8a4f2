import { type FormEvent, useState } from "react";
import type { MyAccount } from "../api/types";
import { passkeysKnown, ways } from "../api/ways";
import { ErrorNote } from "../components/ErrorNote";
import { localTime } from "../format";

type Proved = <T>(call: () => Promise<T>) => Promise<T>;

/** The account's passkeys. `impossible`: why this browser can use none at this address, or nothing. */
export function PasskeySection({ mine, impossible, proved, onChanged }: {
  mine: MyAccount;
  impossible: string;
  proved: Proved;
  onChanged: () => void;
}) {
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const why = impossible || (passkeysKnown() ? "" : "This browser knows no passkeys. A newer one does.");

  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await proved(work);
      setName("");
      onChanged();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const add = (event: FormEvent): void => {
    event.preventDefault();
    void attempt(() => ways.addPasskey(name));
  };

  return (
    <section className="card" data-testid="account-passkeys" aria-busy={busy}>
      <h2>Passkeys</h2>
      <p className="muted">Sign in with the finger, face or PIN of a device, or a security key: no password, no code, nothing to be tricked out of.</p>
      {mine.passkeys.length > 0 && (
        <table className="plain">
          <thead><tr><th scope="col">Name</th><th scope="col">Added</th><th scope="col">Last used</th><th scope="col"><span className="visually-hidden">Remove</span></th></tr></thead>
          <tbody>
            {mine.passkeys.map((passkey) => (
              <tr key={passkey.id} data-testid="passkey">
                <td>{passkey.name} <span className="muted">at {passkey.rp_id}</span></td>
                <td className="number">{localTime(passkey.created_at)}</td>
                <td className="number">{passkey.used_at ? localTime(passkey.used_at) : "never"}</td>
                <td>
                  <button
                    type="button" className="quiet" disabled={busy} aria-label={`Remove ${passkey.name}`}
                    onClick={() => void attempt(() => ways.removePasskey(passkey.id))}
                  >
                    Remove
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {error !== null && <ErrorNote error={error} />}
      {why ? <p className="note info" data-testid="no-passkeys">{why}</p> : (
        <form className="row low" onSubmit={add}>
          <label className="field">
            Name of the device
            <input value={name} onChange={(event) => setName(event.target.value)} maxLength={64} required data-testid="passkey-name" />
          </label>
          <button type="submit" disabled={busy} data-testid="passkey-add">{busy ? "Waiting for the device…" : "Add a passkey"}</button>
        </form>
      )}
    </section>
  );
}
