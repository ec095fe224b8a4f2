import { type FormEvent, useState } from "react";
import { access, type AccountGiven, type AccountInfo, type Projects } from "../api/access";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { fitting, home, rolesIn } from "./memberships";

type Proved = <T>(call: () => Promise<T>) => Promise<T>;

/** Adds an account, or changes `account`. `onDone` gets the password of one that was added. */
export function AccountDialog({ account, roles, projects, proved, onDone, onClose }: {
  account?: AccountInfo;
  roles: string[];
  projects: Projects;
  proved: Proved;
  onDone: (given: AccountGiven | null) => void;
  onClose: () => void;
}) {
  const [name, setName] = useState("");
  const [display, setDisplay] = useState(account?.display_name ?? "");
  const [role, setRole] = useState(account?.role ?? "radiologist");
  const [disabled, setDisabled] = useState(account?.disabled ?? false);
  const [where, setWhere] = useState<Record<string, string>>(
    // A role that was changed elsewhere may have left memberships that no longer count.
    account ? fitting(account.projects, account.role, projects) : home("radiologist", projects),
  );
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  // A machine's password is a program's, and stays one's.
  const open = account ? roles.filter((one) => (one === "service") === (account.role === "service")) : roles;

  const choose = (wanted: string): void => {
    setRole(wanted);
    // A new account begins where its role is at home; one that is there stays where the new role counts, as that.
    const kept = Object.keys(fitting(where, wanted, projects)).map((project) => [project, wanted]);
    setWhere(account ? Object.fromEntries(kept) : home(wanted, projects));
  };
  const join = (project: string, there: string): void => {
    const next = { ...where };
    if (there) next[project] = there;
    else delete next[project];
    setWhere(next);
  };
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    const body = { display_name: display, role, projects: where };
    try {
      if (account) await proved(() => access.changeAccount(account.id, { ...body, disabled }));
      onDone(account ? null : await proved(() => access.addAccount({ ...body, name })));
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };

  return (
    <Dialog title={account ? `Change ${account.name}` : "Add an account"} onClose={onClose} testId="account-dialog">
      <form className="stack" onSubmit={(event) => void submit(event)} aria-busy={busy}>
        {!account && (
          <label className="field">
            Name to sign in with
            <input
              value={name} onChange={(event) => setName(event.target.value)} required maxLength={64} autoFocus autoComplete="off"
              autoCapitalize="none" spellCheck={false} data-testid="account-name"
            />
          </label>
        )}
        <label className="field">
          Name as shown, and written into reports
          <input value={display} onChange={(event) => setDisplay(event.target.value)} maxLength={128} autoComplete="off" data-testid="account-display" />
        </label>
        <label className="field">
          Role
          <select value={role} onChange={(event) => choose(event.target.value)} data-testid="account-role">
            {open.map((one) => <option key={one} value={one}>{one}</option>)}
          </select>
        </label>
        <fieldset className="choices">
          <legend>In projects, and as what</legend>
          {projects.items.map((project) => {
            const possible = rolesIn(project.name, role, projects);
            return (
              <label key={project.name} className="row">
                <span className="grow">{project.name} <span className="muted">{project.kind}</span></span>
                <select
                  value={where[project.name] ?? ""} onChange={(event) => join(project.name, event.target.value)}
                  disabled={!possible.length} data-testid={`member-${project.name}`}
                >
                  <option value="">{possible.length ? "not a member" : `not for a ${role}`}</option>
                  {possible.map((one) => <option key={one} value={one}>as {one}</option>)}
                </select>
              </label>
            );
          })}
        </fieldset>
        {account && (
          <label>
            <input type="checkbox" checked={disabled} onChange={(event) => setDisabled(event.target.checked)} data-testid="account-disabled" />{" "}
            Disabled: refused from now on; sessions and tokens end
          </label>
        )}
        {error !== null && <ErrorNote error={error} />}
        <div className="actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" className="primary" disabled={busy} data-testid="account-save">{account ? "Save" : "Add"}</button>
        </div>
      </form>
    </Dialog>
  );
}
