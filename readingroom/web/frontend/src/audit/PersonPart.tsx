import { type FormEvent, useState } from "react";
import { api } from "../api/client";
import type { AuditState, PersonActions } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { dayStart } from "../format";
import { Answer } from "./Answer";
import { useAnswer } from "./useAnswer";

/** "What did this person do": an account (or an AE title, or a process), within some days. */
export function PersonPart({ accounts }: { accounts: AuditState["accounts"] }) {
  const [actor, setActor] = useState("");
  const [since, setSince] = useState("");
  const [until, setUntil] = useState("");
  const { answer, error, busy, ask, more } = useAnswer<PersonActions>();

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const name = actor.trim();
    // The last day counts whole.
    if (name) ask((offset) => api.whatDid(name, dayStart(since, 0), dayStart(until, 1), offset));
  };

  return (
    <section className="stack" aria-label="What did this person do">
      <form className="worklist-tools" onSubmit={submit}>
        <input
          value={actor} onChange={(event) => setActor(event.target.value)} list="audit-accounts" maxLength={128}
          placeholder="Account, AE title or process" aria-label="Account, AE title or process" autoComplete="off"
          data-testid="audit-actor"
        />
        <datalist id="audit-accounts">
          {accounts.map((account) => <option key={account.name} value={account.name}>{account.display_name}</option>)}
        </datalist>
        <label>From <input type="date" value={since} max={until || undefined} onChange={(event) => setSince(event.target.value)} /></label>
        <label>to <input type="date" value={until} min={since || undefined} onChange={(event) => setUntil(event.target.value)} /></label>
        <button type="submit" className="primary" disabled={!actor.trim()}>Look up</button>
        <span className="muted">Each look is audited itself.</span>
      </form>
      {error !== null && <ErrorNote error={error} />}
      {busy && !answer && <p className="muted" role="status">Loading…</p>}
      {answer && <Answer {...answer} busy={busy} withPatient onMore={more} />}
    </section>
  );
}
