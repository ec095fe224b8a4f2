import { type FormEvent, type ReactNode, useCallback, useRef, useState } from "react";
import { ApiError } from "../api/client";
import { passkeysKnown, ways } from "../api/ways";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";

/**
 * Some calls ask who is there though somebody is signed in. `proved(call)` makes the call; where the server wants a
 * proof it shows the dialog (put `dialog` on the page) and makes the call again once that is given.
 */
export function useProof(): { proved: <T>(call: () => Promise<T>) => Promise<T>; dialog: ReactNode } {
  const [asking, setAsking] = useState(false);
  const waiting = useRef<{ done: () => void; given: (problem: unknown) => void } | null>(null);

  const proved = useCallback(async <T,>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (problem) {
      if (!(problem instanceof ApiError) || problem.code !== "proof-needed") throw problem;
      await new Promise<void>((resolve, reject) => {
        waiting.current = { done: resolve, given: reject };
        setAsking(true);
      });
      return call();
    }
  }, []);

  const dialog = asking && (
    <ProofDialog
      onProved={() => {
        setAsking(false);
        waiting.current?.done();
      }}
      onClose={() => {
        setAsking(false);
        waiting.current?.given(new ApiError(0, "proof-not-given", "Nothing was changed.", "It was not shown that it is you."));
      }}
    />
  );
  return { proved, dialog };
}

function ProofDialog({ onProved, onClose }: { onProved: () => void; onClose: () => void }) {
  const { value: mine, error: unknown } = useLoaded(ways.mine);
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const attempt = async (prove: () => Promise<void>): Promise<boolean> => {
    setBusy(true);
    setError(null);
    try {
      await prove();
      return true;
    } catch (problem) {
      setError(problem);
      setText("");
      return false;
    } finally {
      setBusy(false);
    }
  };
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (await attempt(() => ways.prove(mine?.app ? { code: text } : { password: text }))) onProved();
  };

  return (
    <Dialog title="Is it still you?" onClose={onClose} testId="proof-dialog">
      <div className="stack" aria-busy={mine === null || busy}>
        <p className="muted">You signed in a while ago. Show once more that it is you; then this goes on.</p>
        {(error ?? unknown) !== null && <ErrorNote error={error ?? unknown} />}
        {mine?.has_password && (
          <form className="stack" onSubmit={(event) => void submit(event)}>
            <label className="field">
              {mine.app ? "Code from your authenticator app, or a recovery code" : "Password"}
              <input
                type={mine.app ? "text" : "password"} value={text} onChange={(event) => setText(event.target.value)} autoFocus required
                autoComplete={mine.app ? "one-time-code" : "current-password"} data-testid="proof-text"
              />
            </label>
            <button type="submit" className="primary" disabled={busy} data-testid="proof-submit">Go on</button>
          </form>
        )}
        {mine && mine.passkeys.length > 0 && passkeysKnown() && (
          <button
            type="button" disabled={busy} data-testid="proof-passkey"
            onClick={() => void attempt(ways.proveByPasskey).then((right) => right && onProved())}
          >
            Use a passkey
          </button>
        )}
        {mine && !mine.has_password && (
          <button
            type="button" className="primary" disabled={busy} data-testid="proof-provider"
            onClick={() => void attempt(() => ways.provider("/session/proof/oidc"))}
          >
            Show it where you sign in; you come back here
          </button>
        )}
      </div>
      <div className="actions"><button type="button" onClick={onClose}>Cancel</button></div>
    </Dialog>
  );
}
