// Reader versions: which one reads, which ones run unseen beside it, who decided so and why.

import { useState } from "react";
import { type InstalledReader, type ModelAction, models, type ModelState, type ModelVersion } from "../api/models";
import type { Account } from "../api/types";
import { may } from "../api/client";
import { useProof } from "../account/ProofDialog";
import { Badge, EvidenceChip } from "../components/Chips";
import { ErrorNote } from "../components/ErrorNote";
import { localTime } from "../format";
import { useLoaded } from "../pages/useLoaded";
import { ChangeDialog } from "./ChangeDialog";
import { ComparisonFacts } from "./ComparisonFacts";

const STATES: Record<ModelState, { tone: "" | "good" | "info" | "warn"; sign: string }> = {
  candidate: { tone: "", sign: "○" },
  shadow: { tone: "info", sign: "◐" },
  live: { tone: "good", sign: "●" },
  retired: { tone: "", sign: "×" },
};

const ACTIONS: Record<ModelState, { action: ModelAction; words: string }[]> = {
  candidate: [{ action: "shadow", words: "Put in shadow…" }, { action: "retire", words: "Retire…" }],
  shadow: [{ action: "promote", words: "Promote…" }, { action: "retire", words: "Retire…" }],
  live: [{ action: "rollback", words: "Roll back…" }, { action: "retire", words: "Retire…" }],
  retired: [{ action: "shadow", words: "Put in shadow…" }],
};

export function ModelsPage({ me }: { me: Account }) {
  const { value, error, again } = useLoaded(models.all);
  const { proved, dialog } = useProof();
  const [open, setOpen] = useState<{ model: ModelVersion; action: ModelAction } | null>(null);
  const readers = value ? [...new Set([...value.installed, ...value.items].map((one) => one.reader))].sort() : [];
  return (
    <main className="page stack" aria-busy={value === null}>
      <div className="row">
        <h1>Models</h1>
        <button type="button" onClick={again}>Refresh</button>
      </div>
      <p className="muted">
        Of each reader one version is live. Versions in shadow read every study after it; what they find is shown nowhere but
        here, as numbers. Add one with <code>readingroom models add PATH --why REASON</code>.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value && readers.length === 0 && <div className="empty"><p>No reader is installed, and none has been added.</p></div>}
      {value && readers.map((reader) => (
        <section key={reader} className="card" data-testid="model-reader" data-reader={reader}>
          <h2>{reader}</h2>
          {value.installed.filter((one) => one.reader === reader).map((one) => <Installed key={one.version} reader={one} />)}
          {value.items.filter((one) => one.reader === reader).map((one) => (
            <Version key={one.id} model={one} manage={may(me, "model:manage")} onAction={(action) => setOpen({ model: one, action })} />
          ))}
        </section>
      ))}
      {open && (
        <ChangeDialog
          model={open.model}
          action={open.action}
          proved={proved}
          onClose={() => setOpen(null)}
          onDone={() => { setOpen(null); again(); }}
        />
      )}
      {dialog}
    </main>
  );
}

function Installed({ reader }: { reader: InstalledReader }) {
  return (
    <div className="row" data-testid="model-installed" data-reader={reader.reader}>
      <strong className="number">{reader.version || "–"}</strong>
      {reader.error
        ? <Badge tone="bad">✕ cannot be used</Badge>
        : reader.live ? <Badge tone="good">● live</Badge> : <Badge tone="">× replaced</Badge>}
      <span className="muted">as installed with the program{reader.title && `: ${reader.title}`}</span>
      {reader.error && <span className="muted">{reader.error}</span>}
    </div>
  );
}

function Version({ model, manage, onAction }: {
  model: ModelVersion;
  manage: boolean;
  onAction: (action: ModelAction) => void;
}) {
  const state = STATES[model.state];
  return (
    <article className="stack model" data-testid="model-version" data-state={model.state}>
      <div className="row">
        <strong className="number">{model.version}</strong>
        <Badge tone={state.tone}>{`${state.sign} ${model.state}`}</Badge>
        {model.card && <EvidenceChip level={model.card.evidence_level} />}
        <span className="muted">{model.card?.title}</span>
        <span className="grow" />
        {manage && ACTIONS[model.state].map(({ action, words }) => (
          <button key={action} type="button" onClick={() => onAction(action)} aria-label={`${words} ${model.reader} ${model.version}`} data-testid={`model-${action}`}>
            {words}
          </button>
        ))}
      </div>
      {model.error && <p className="note bad">✕ This version is not as it was signed here: {model.error}</p>}
      {!model.reads_here && <p className="note warn">The setting <code>readers</code> does not name {model.reader}: it does not run here.</p>}
      {model.comparison && <ComparisonFacts comparison={model.comparison} />}
      {model.state === "shadow" && !model.comparison && <p className="muted">It has read nothing yet.</p>}
      <details>
        <summary>Who changed it and why</summary>
        <table className="plain">
          <thead><tr><th scope="col">When</th><th scope="col">Became</th><th scope="col">By</th><th scope="col">Why</th></tr></thead>
          <tbody>
            {model.changes.map((change, n) => (
              <tr key={n} data-testid="model-change">
                <td className="number">{localTime(change.at)}</td>
                <td>{change.state} <span className="muted">({change.action})</span></td>
                <td>{change.actor}</td>
                <td>{change.why}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
      <details>
        <summary>Card and files</summary>
        <dl className="facts">
          <dt>Made from</dt><dd>{model.source}</dd>
          {model.card && (
            <>
              <dt>Takes</dt><dd>{model.card.takes}</dd>
              <dt>Finds</dt><dd>{model.card.finds.map((code) => code.meaning).join(", ")}</dd>
              <dt>Evidence</dt><dd>{model.card.evidence}</dd>
              <dt>Limits</dt><dd>{model.card.limits.join(" ")}</dd>
              <dt>Licence of weights</dt><dd>{model.card.weights_licence}</dd>
            </>
          )}
          {Object.entries(model.files).map(([name, hash]) => (
            <div key={name} className="fact"><dt>{name}</dt><dd className="number">SHA-256 {hash}</dd></div>
          ))}
        </dl>
      </details>
    </article>
  );
}
