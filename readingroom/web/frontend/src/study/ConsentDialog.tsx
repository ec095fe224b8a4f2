// What the study's patient allows: where they stand on each purpose, how it came to that, what was made of their data.

import { type FormEvent, useCallback, useState } from "react";
import { api } from "../api/client";
import type { Consent, Decided, LegalBasis, PurposeState, Study } from "../api/types";
import { Dialog } from "../components/Dialog";
import { ErrorNote } from "../components/ErrorNote";
import { localTime, personName } from "../format";
import { useLoaded } from "../pages/useLoaded";
import { basesFor, KIND_WORDS, lastDay, PURPOSE_WORDS, SOURCE_WORDS } from "./consent";

type Send = (decided: Decided) => Promise<void>;

export function ConsentDialog({ study, onClose }: { study: Study; onClose: () => void }) {
  const load = useCallback(() => api.consent(study.study_id), [study.study_id]);
  const { value: loaded, error, again } = useLoaded(load);
  const [changed, setChanged] = useState<Consent | null>(null);
  const [open, setOpen] = useState("");
  const view = changed ?? loaded;
  const write = study.can.includes("consent:write");
  const send: Send = async (decided) => {
    setChanged(await api.decideConsent(study.study_id, decided));
    setOpen("");
  };
  return (
    <Dialog title="What the patient allows" onClose={onClose} testId="consent-dialog">
      <p className="muted consent-whose">
        {personName(study.patient.PatientName)}, {study.patient.PatientID || "no identifier"}. It holds for all studies of this patient.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {!view && error === null && <p className="muted" role="status">Loading…</p>}
      {view?.purposes.map((state) => (
        <PurposeCard
          key={state.purpose} state={state} bases={view.bases} write={write} send={send}
          open={open.endsWith(`:${state.purpose}`) ? open.split(":")[0] ?? "" : ""}
          onOpen={(what) => setOpen(what ? `${what}:${state.purpose}` : "")}
        />
      ))}
      <div className="actions"><button type="button" onClick={onClose}>Close</button></div>
    </Dialog>
  );
}

function PurposeCard({ state, bases, write, send, open, onOpen }: {
  state: PurposeState;
  bases: readonly LegalBasis[];
  write: boolean;
  send: Send;
  /** Which form is open: `record`, `withdraw` or none. */
  open: string;
  onOpen: (what: string) => void;
}) {
  const words = PURPOSE_WORDS[state.purpose];
  const basis = bases.find((one) => one.code === state.basis);
  return (
    <section className="consent-purpose" aria-label={words.title} data-testid="consent-purpose" data-purpose={state.purpose} data-allowed={state.allowed}>
      <div className="row">
        <h3>{words.title}</h3>
        <span className={`chip ${state.allowed ? "good" : "bad"}`}>{state.allowed ? "✓ allowed" : "✕ not allowed"}</span>
        {basis && <span className="chip" title={`${basis.text} ${basis.source}`}>{basis.title}</span>}
        <span className="grow" />
        {write && open === "" && (
          <>
            <button type="button" onClick={() => onOpen("record")} data-testid="consent-record">Record a decision</button>
            {state.kind === "given" && (
              <button type="button" onClick={() => onOpen("withdraw")} data-testid="consent-withdraw">Withdraw</button>
            )}
          </>
        )}
      </div>
      <p className="muted">
        {words.meaning}. {state.reason}
        {state.kind === "given" && state.until && ` It counts until ${lastDay(state.until)}.`}
      </p>
      {open === "record" && <RecordForm state={state} bases={basesFor(bases, state.purpose)} send={send} onCancel={() => onOpen("")} />}
      {open === "withdraw" && <WithdrawForm state={state} send={send} onCancel={() => onOpen("")} />}
      <Uses state={state} />
      <History state={state} bases={bases} />
    </section>
  );
}

function useSending(send: Send): { busy: boolean; error: unknown; go: (decided: Decided) => void } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const go = (decided: Decided): void => {
    setBusy(true);
    setError(null);
    // What was sent closes the form; only a failure comes back to it.
    send(decided).catch((problem: unknown) => { setError(problem); setBusy(false); });
  };
  return { busy, error, go };
}

function RecordForm({ state, bases, send, onCancel }: {
  state: PurposeState;
  bases: readonly LegalBasis[];
  send: Send;
  onCancel: () => void;
}) {
  const [kind, setKind] = useState<"given" | "refused">("given");
  const [code, setCode] = useState(bases[0]?.code ?? "");
  const { busy, error, go } = useSending(send);
  const basis = bases.find((one) => one.code === code);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string): string => String(form.get(name) ?? "").trim();
    go({
      kind,
      purposes: [state.purpose],
      ...(kind === "given" && { basis: code, until: text("until") || null }),
      reference: text("reference"),
      decided_on: text("decided_on") || null,
    });
  };
  return (
    <form className="stack consent-form" onSubmit={submit} data-testid="consent-form">
      <fieldset className="row">
        <legend className="visually-hidden">The patient's decision</legend>
        <label><input type="radio" name="kind" checked={kind === "given"} onChange={() => setKind("given")} autoFocus /> allows it</label>
        <label><input type="radio" name="kind" checked={kind === "refused"} onChange={() => setKind("refused")} data-testid="consent-refused" /> refuses it</label>
      </fieldset>
      {kind === "given" && (
        <label className="field">
          Legal basis
          <select value={code} onChange={(event) => setCode(event.target.value)} data-testid="consent-basis">
            {bases.map((one) => <option key={one.code} value={one.code}>{one.title}</option>)}
          </select>
          {basis && <span>{basis.text} <span className="muted">{basis.source}</span></span>}
        </label>
      )}
      <label className="field">
        Number of the form or approval (no name){kind === "given" && basis?.needs_reference ? "" : ", if there is one"}
        <input name="reference" maxLength={200} required={kind === "given" && basis?.needs_reference} autoComplete="off" data-testid="consent-reference" />
      </label>
      <div className="row">
        <label className="field">Decided on (empty: today)<input type="date" name="decided_on" data-testid="consent-decided-on" /></label>
        {kind === "given" && <label className="field">Until and including (empty: no end)<input type="date" name="until" data-testid="consent-until" /></label>}
      </div>
      {error !== null && <ErrorNote error={error} />}
      <div className="actions">
        <button type="button" onClick={onCancel}>Cancel</button>
        <button type="submit" className="primary" disabled={busy} data-testid="consent-save">{busy ? "Writing…" : "Write down"}</button>
      </div>
    </form>
  );
}

function WithdrawForm({ state, send, onCancel }: { state: PurposeState; send: Send; onCancel: () => void }) {
  const { busy, error, go } = useSending(send);
  const left = state.uses.filter((use) => use.removed_at === null);
  return (
    <div className="note warn stack consent-form" data-testid="consent-confirm">
      <p>
        Withdraw the permission for {PURPOSE_WORDS[state.purpose].title.toLowerCase()}? From now on nothing new is made of this
        patient's data for it, and they are taken out of everything that can still be changed.
      </p>
      {left.length > 0 && <p>What has been learned from them already can't be unlearned. It stays in the list below.</p>}
      {error !== null && <ErrorNote error={error} />}
      <div className="actions">
        <button type="button" onClick={onCancel} autoFocus>Cancel</button>
        <button type="button" className="primary" disabled={busy} onClick={() => go({ kind: "withdrawn", purposes: [state.purpose] })} data-testid="consent-withdraw-confirm">
          {busy ? "Withdrawing…" : "Withdraw"}
        </button>
      </div>
    </div>
  );
}

function Uses({ state }: { state: PurposeState }) {
  if (!state.uses.length) return null;
  return (
    <div data-testid="consent-uses">
      <p>Made of this patient's data:</p>
      <ul>
        {state.uses.map((use) => (
          <li key={`${use.room} ${use.what} ${use.ref}`} data-removed={use.removed_at !== null}>
            {use.what} <code>{use.ref}</code> ({use.room}), {localTime(use.at)} by {use.actor}
            {use.removed_at && <strong>; taken out {localTime(use.removed_at)}</strong>}
          </li>
        ))}
      </ul>
    </div>
  );
}

function History({ state, bases }: { state: PurposeState; bases: readonly LegalBasis[] }) {
  if (!state.history.length) return null;
  return (
    <details data-testid="consent-history">
      <summary>{state.history.length === 1 ? "1 decision" : `${state.history.length} decisions`}</summary>
      <table className="plain number">
        <thead>
          <tr><th>Decision</th><th>From</th><th>Until</th><th>Basis, reference</th><th>Written down</th></tr>
        </thead>
        <tbody>
          {state.history.map((line) => (
            <tr key={`${line.recorded_at} ${line.kind}`}>
              <td>{KIND_WORDS[line.kind]}</td>
              <td>{localTime(line.starts_at)}</td>
              <td>{line.ends_at ? lastDay(line.ends_at) : ""}</td>
              <td>
                {[line.kind === "given" && (bases.find((one) => one.code === line.basis)?.title ?? line.basis), line.reference].filter(Boolean).join(", ")}
              </td>
              <td>{localTime(line.recorded_at)} by {line.actor}, {SOURCE_WORDS[line.source] ?? line.source}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
