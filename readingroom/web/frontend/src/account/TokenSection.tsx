import { useState } from "react";
import { access } from "../api/access";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";
import { NewTokenForm, TokenTable } from "./tokens";

type Proved = <T>(call: () => Promise<T>) => Promise<T>;

/** My API tokens. */
export function TokenSection({ proved }: { proved: Proved }) {
  const { value: mine, error, again } = useLoaded(access.tokens);
  const [refused, setRefused] = useState<unknown>(null);
  return (
    <section className="card" data-testid="account-tokens" aria-busy={mine === null}>
      <h2>API tokens</h2>
      <p className="muted">
        For programs of yours: sent as <code>Authorization: Bearer …</code>. A token carries a part of what you may do, never signing.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {refused !== null && <ErrorNote error={refused} />}
      {mine && (
        <>
          <TokenTable tokens={mine.items} onRevoke={(id) => void access.revokeToken(id).then(again, setRefused)} />
          <NewTokenForm
            scopes={mine.scopes} projects={mine.projects} onMade={again}
            make={(token) => proved(() => access.makeToken(token))}
          />
        </>
      )}
    </section>
  );
}
