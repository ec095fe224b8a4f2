import { type FormEvent, useState } from "react";
import { useProof } from "../account/ProofDialog";
import { api } from "../api/client";
import type { Report, Study } from "../api/types";
import { ReportChip } from "../components/Chips";
import { ErrorNote } from "../components/ErrorNote";
import { localTime, roleText } from "../format";
import { isWritten, type ReportState, type Saving, sectionName, SECTIONS } from "./useReport";

const SAVING_WORDS: Record<Saving, string> = {
  saved: "All changes are saved.",
  unsaved: "Not yet saved…",
  saving: "Saving…",
  failed: "Not saved.",
  conflict: "Not saved: somebody else has changed this report.",
};

export function ReportPanel({ study, state, onSign }: { study: Study; state: ReportState; onSign: () => void }) {
  const { report, sections } = state;
  if (!report || !sections) {
    return (
      <section className="report" aria-label="Report" aria-busy={state.error === null}>
        <h2>Report</h2>
        {state.error !== null ? <ErrorNote error={state.error} /> : <p className="muted" role="status">Loading the report…</p>}
      </section>
    );
  }
  const signed = report.state === "final" || report.state === "written";
  const mayWrite = study.can.includes("report:write") && !signed;
  const maySign = study.can.includes("report:sign");
  return (
    <section className="report" aria-label="Report">
      <div className="row">
        <h2>Report</h2>
        <ReportChip state={report.state} />
        <span className="grow" />
        <a className="button" href={api.pdfUrl(study.study_id)} target="_blank" rel="noreferrer" data-testid="report-pdf">
          {signed ? "PDF" : "PDF preview"}
        </a>
      </div>
      {report.partial && <div className="note warn">Partial study{typeof report.partial === "string" && `: ${report.partial}`}</div>}
      {!signed && report.flags.filter((flag) => flag.code === "text-outdated").map((flag) => (
        <div key={flag.code} className="note warn" role="status" data-testid="report-outdated">⚠ {flag.text}</div>
      ))}
      {SECTIONS.map((section) => (
        mayWrite ? (
          <label key={section} className="field">
            {sectionName(section)}
            <textarea
              value={sections[section] ?? ""} onChange={(event) => state.write(section, event.target.value)}
              data-testid={`report-section-${section}`}
            />
          </label>
        ) : (
          <div key={section}>
            <h3 className="muted">{sectionName(section)}</h3>
            <p className="signed-text" data-testid={`report-section-${section}`}>{sections[section] || "–"}</p>
          </div>
        )
      ))}
      {mayWrite && <SaveLine state={state} />}
      {signed && <Signed report={report} />}
      <div className="row">
        {mayWrite && <button type="button" onClick={() => void state.redraft()} data-testid="report-redraft">Draft anew from the verdicts</button>}
        {maySign && !signed && <button type="button" className="primary" onClick={onSign} data-testid="open-sign">Sign… <kbd>s</kbd></button>}
      </div>
      {signed && maySign && <AddendumForm study={study} onAdded={state.show} />}
      <p className="muted">{report.research_notice}</p>
    </section>
  );
}

function SaveLine({ state }: { state: ReportState }) {
  return (
    <div aria-live="polite">
      <p className="saving" data-testid="report-saving" data-state={state.saving}>{SAVING_WORDS[state.saving]}</p>
      {state.saving === "conflict" && (
        <div className="note warn" role="alert" data-testid="report-conflict">
          This report was changed elsewhere since you opened it.
          <div className="decisions">
            <button type="button" onClick={() => void state.takeTheirs()}>Load the other text</button>
            <button type="button" onClick={() => void state.keepMine()}>Keep my text</button>
          </div>
        </div>
      )}
      {state.saving === "failed" && <ErrorNote error={state.error} onRetry={() => void state.saveNow().catch(() => undefined)} />}
    </div>
  );
}

function Signed({ report }: { report: Report }) {
  return (
    <>
      <p className="note good" data-testid="signed-by">✓ Signed by {report.signed_by}, {localTime(report.signed_at)} (revision {report.revision})</p>
      {report.addenda.map((addendum) => (
        <div key={addendum.number} className="addendum">
          <strong>Addendum {addendum.number}</strong> <span className="muted">{addendum.author}, {localTime(addendum.at)}</span>
          <div className="signed-text">{addendum.text}</div>
          {!isWritten(report, addendum.number) && <div className="muted">Objects with it are being written…</div>}
        </div>
      ))}
      <Deliveries report={report} />
    </>
  );
}

const DELIVERY: Record<string, string> = { accepted: "✓ accepted", cancelled: "✕ cancelled" };

function Deliveries({ report }: { report: Report }) {
  if (!report.deliveries.length) {
    return <p className="muted">{report.state === "final" ? "Objects are being written…" : "Written; no destination is configured."}</p>;
  }
  return (
    <table className="plain deliveries" data-testid="deliveries">
      <thead><tr><th scope="col">To</th><th scope="col">What</th><th scope="col">State</th></tr></thead>
      <tbody>
        {report.deliveries.map((delivery) => (
          <tr key={`${delivery.peer} ${delivery.role}`} data-testid="delivery" data-state={delivery.state}>
            <td>{delivery.peer}</td>
            <td>{roleText(delivery.role)}</td>
            <td>
              {DELIVERY[delivery.state] ?? `… ${delivery.state}`}
              {delivery.state !== "accepted" && delivery.attempts > 0 && ` (${delivery.attempts} tries)`}
              {delivery.state !== "accepted" && delivery.last_error && <div className="muted">{delivery.last_error}</div>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function AddendumForm({ study, onAdded }: { study: Study; onAdded: (report: Report) => void }) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const { proved, dialog } = useProof();
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onAdded(await proved(() => api.addendum(study.study_id, text.trim())));
      setText("");
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <label className="field">
          Addendum
          <textarea value={text} onChange={(event) => setText(event.target.value)} data-testid="addendum-text" />
        </label>
        {error !== null && <ErrorNote error={error} />}
        <button type="submit" disabled={busy || !text.trim()} data-testid="addendum-add">Sign addendum</button>
      </form>
      {dialog}
    </>
  );
}
