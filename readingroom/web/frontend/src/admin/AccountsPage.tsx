// Every account: who it is, as what and where, and changing that.

import { useCallback, useState } from "react";
import { access, type AccountGiven, type AccountInfo } from "../api/access";
import type { Account } from "../api/types";
import { useProof } from "../account/ProofDialog";
import { Badge } from "../components/Chips";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";
import { AccountDialog } from "./AccountDialog";
import { MachineTokens } from "./MachineTokens";

type Open = { what: "add" } | { what: "change" | "reset" | "tokens"; account: AccountInfo };

export function AccountsPage({ me }: { me: Account }) {
  const load = useCallback(async () => {
    const [accounts, projects] = await Promise.all([access.accounts(), access.projects()]);
    return { ...accounts, projects };
  }, []);
  const { value, error, again } = useLoaded(load);
  const { proved, dialog } = useProof();
  const [open, setOpen] = useState<Open | null>(null);
  const [given, setGiven] = useState<AccountGiven | null>(null);
  const close = (): void => setOpen(null);
  const done = (made: AccountGiven | null): void => {
    close();
    setGiven(made);
    again();
  };

  return (
    <main className="page stack" aria-busy={value === null}>
      <div className="row">
        <h1>Accounts</h1>
        <button type="button" className="primary" onClick={() => setOpen({ what: "add" })} disabled={value === null} data-testid="account-add">
          Add an account
        </button>
      </div>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {given && <Given given={given} onClose={() => setGiven(null)} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value && (
        <table className="plain" data-testid="accounts">
          <thead>
            <tr>
              <th scope="col">Name</th><th scope="col">Role</th><th scope="col">Projects</th><th scope="col">State</th>
              <th scope="col"><span className="visually-hidden">Change</span></th>
            </tr>
          </thead>
          <tbody>
            {value.items.map((account) => (
              <tr key={account.id} data-testid="account-row" data-account={account.name}>
                <td>{account.display_name} <span className="muted">{account.name}</span></td>
                <td>{account.role}</td>
                <td><Memberships account={account} /></td>
                <td><State account={account} me={me} /></td>
                <td>
                  <div className="row">
                    <button type="button" onClick={() => setOpen({ what: "change", account })} aria-label={`Change ${account.name}`}>Change…</button>
                    {!account.elsewhere && (
                      <button type="button" onClick={() => setOpen({ what: "reset", account })} aria-label={`Reset ${account.name}`}>Reset…</button>
                    )}
                    {account.role === "service" && (
                      <button type="button" onClick={() => setOpen({ what: "tokens", account })} aria-label={`Tokens of ${account.name}`}>Tokens…</button>
                    )}
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {value && open?.what === "add" && (
        <AccountDialog roles={value.roles} projects={value.projects} proved={proved} onDone={done} onClose={close} />
      )}
      {value && open?.what === "change" && (
        <AccountDialog account={open.account} roles={value.roles} projects={value.projects} proved={proved} onDone={done} onClose={close} />
      )}
      {open?.what === "reset" && <ResetDialog account={open.account} proved={proved} onDone={done} onClose={close} />}
      {value && open?.what === "tokens" && <MachineTokens account={open.account} scopes={value.machine_scopes} proved={proved} onClose={close} />}
      {dialog}
    </main>
  );
}

function Memberships({ account }: { account: AccountInfo }) {
  const names = Object.entries(account.projects);
  if (!names.length) return <span className="muted">{account.role === "administrator" ? "–" : "none: sees no study"}</span>;
  return names.map(([name, role]) => (
    <span key={name} className="chip">{name}{role !== account.role && ` as ${role}`}</span>
  ));
}

function State({ account, me }: { account: AccountInfo; me: Account }) {
  return (
    <div className="chips">
      {account.disabled ? <Badge tone="bad">disabled</Badge> : <Badge tone="good">active</Badge>}
      {account.name === me.name && <Badge tone="info">you</Badge>}
      {account.second_factor && <Badge tone="">second factor</Badge>}
      {account.elsewhere && <Badge tone="">signs in elsewhere</Badge>}
      {account.password_owed && <Badge tone="warn">has not chosen a password yet</Badge>}
    </div>
  );
}

function Given({ given, onClose }: { given: AccountGiven; onClose: () => void }) {
  const machine = given.account.role === "service";
  return (
    <div className="note good" role="status" data-testid="password-given">
      The password of <strong>{given.account.name}</strong>. Hand it over now: it is not shown again.
      {machine ? " It is for HTTP Basic on /dicomweb and /metrics; a token is better." : " It opens nothing but choosing another."}
      <pre className="command" data-testid="given-password">{given.password}</pre>
      <button type="button" onClick={onClose}>Close</button>
    </div>
  );
}

function ResetDialog({ account, proved, onDone, onClose }: {
  account: AccountInfo;
  proved: <T>(call: () => Promise<T>) => Promise<T>;
  onDone: (given: AccountGiven) => void;
  onClose: () => void;
}) {
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const reset = (): void => {
    setBusy(true);
    proved(() => access.resetAccount(account.id)).then(onDone, (problem: unknown) => {
      setError(problem);
      setBusy(false);
    });
  };
  return (
    <Dialog title={`Reset ${account.name}`} onClose={onClose} testId="reset-dialog">
      <p>A new password is made. The old one, second factors, sessions and tokens of {account.display_name} are gone at once.</p>
      {error !== null && <ErrorNote error={error} />}
      <div className="actions">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="button" className="primary" disabled={busy} onClick={reset} data-testid="reset-confirm">Reset</button>
      </div>
    </Dialog>
  );
}

