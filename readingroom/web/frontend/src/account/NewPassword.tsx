import { useId } from "react";
import { passwordHint } from "./passwordHint";

/** A new password, twice, with what is said of it. `name`: the account's, which it may not be. */
export function NewPassword({ name, password, again, onPassword, onAgain }: {
  name: string;
  password: string;
  again: string;
  onPassword: (text: string) => void;
  onAgain: (text: string) => void;
}) {
  const hint = useId();
  const said = passwordHint(password, name);
  return (
    <>
      <label className="field">
        New password
        <input
          type="password" value={password} onChange={(event) => onPassword(event.target.value)} required
          autoComplete="new-password" aria-describedby={hint} data-testid="new-password"
        />
      </label>
      <p id={hint} className={`password-hint ${said.tone}`} data-testid="password-hint">{said.words}</p>
      <label className="field">
        The same again
        <input
          type="password" value={again} onChange={(event) => onAgain(event.target.value)} required
          autoComplete="new-password" data-testid="new-password-again"
        />
      </label>
      {again !== "" && !password.startsWith(again) && <p className="password-hint warn">The two differ.</p>}
    </>
  );
}
