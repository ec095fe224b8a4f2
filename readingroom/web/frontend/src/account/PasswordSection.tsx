import { type FormEvent, useState } from "react";
import { ways } from "../api/ways";
import { ErrorNote } from "../components/ErrorNote";
import { NewPassword } from "./NewPassword";

export function PasswordSection({ name, onChanged }: { name: string; onChanged: () => void }) {
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [changed, setChanged] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setChanged(false);
    try {
      await ways.changePassword(current, password);
      setChanged(true);
      onChanged();
      setPassword("");
      setAgain("");
    } catch (problem) {
      setError(problem);
    } finally {
      setCurrent("");
      setBusy(false);
    }
  };

  return (
    <section className="card" data-testid="account-password">
      <h2>Password</h2>
      <form className="stack" onSubmit={(event) => void submit(event)} aria-busy={busy}>
        <input type="text" hidden readOnly value={name} autoComplete="username" />
        <label className="field">
          Present password
          <input
            type="password" value={current} onChange={(event) => setCurrent(event.target.value)} required
            autoComplete="current-password" data-testid="current-password"
          />
        </label>
        <NewPassword name={name} password={password} again={again} onPassword={setPassword} onAgain={setAgain} />
        {error !== null && <ErrorNote error={error} />}
        {changed && <p className="note good" role="status">✓ Changed. Your other sessions have ended.</p>}
        <div className="row">
          <button type="submit" disabled={busy || !current || !password || password !== again} data-testid="change-password">
            Change password
          </button>
        </div>
      </form>
    </section>
  );
}
