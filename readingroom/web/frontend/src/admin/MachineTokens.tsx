import { useCallback, useState } from "react";
import { access, type AccountInfo } from "../api/access";
import { NewTokenForm, TokenTable } from "../account/tokens";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";

/** Tokens of a machine, which cannot make its own. */
export function MachineTokens({ account, scopes, proved, onClose }: {
  account: AccountInfo;
  scopes: string[];
  proved: <T>(call: () => Promise<T>) => Promise<T>;
  onClose: () => void;
}) {
  const load = useCallback(() => access.tokensOf(account.id), [account.id]);
  const { value: tokens, error, again } = useLoaded(load);
  const [refused, setRefused] = useState<unknown>(null);
  return (
    <Dialog title={`Tokens of ${account.name}`} onClose={onClose} testId="machine-tokens">
      <div className="stack" aria-busy={tokens === null}>
        {error !== null && <ErrorNote error={error} onRetry={again} />}
        {refused !== null && <ErrorNote error={refused} />}
        {tokens && <TokenTable tokens={tokens} onRevoke={(id) => void access.revokeTokenOf(account.id, id).then(again, setRefused)} />}
        <NewTokenForm
          scopes={scopes} projects={Object.keys(account.projects)} onMade={again}
          make={(token) => proved(() => access.makeTokenFor(account.id, token))}
        />
      </div>
      <div className="actions"><button type="button" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}
