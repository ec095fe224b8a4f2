import { api } from "../api/client";
import type { BrokenReader, Card } from "../api/types";
import { EvidenceChip } from "../components/Chips";
import { ErrorNote } from "../components/ErrorNote";
import { EVIDENCE_LEVELS } from "../format";
import { metricRows, rounded } from "./metrics";
import { useLoaded } from "./useLoaded";

export function ReadersPage() {
  const { value, error, again } = useLoaded(api.readers);
  return (
    <main className="page" aria-busy={value === null}>
      <h1>Readers</h1>
      <p className="muted">Each reader answers one clinical question. What it has been shown to do, and what not, is on its card.</p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value?.length === 0 && <div className="empty"><p>No reader is installed, so nothing is read. <code>readingroom readers</code> tells why.</p></div>}
      <div className="cards">
        {value?.map((card) => {
          const key = `${card.name} ${card.version}`;
          return isBroken(card) ? <Broken key={key} reader={card} /> : <ReaderCard key={key} card={card} />;
        })}
      </div>
    </main>
  );
}

const isBroken = (card: Card | BrokenReader): card is BrokenReader => "error" in card && Boolean(card.error);

function Broken({ reader }: { reader: BrokenReader }) {
  return (
    <article className="card" data-testid="reader-broken">
      <h2>{reader.name} {reader.version}</h2>
      <p className="note bad">✕ This reader could not be loaded: {reader.error}</p>
    </article>
  );
}

function ReaderCard({ card }: { card: Card }) {
  return (
    <article className="card" data-testid="reader-card">
      <div className="row">
        <h2>{card.title}</h2>
        <span className="muted number">{card.name} {card.version}</span>
        <span className="grow" />
        <EvidenceChip level={card.evidence_level} />
      </div>
      <p>{card.question}</p>
      <div><h3>Evidence</h3><p>{card.evidence}</p><p className="muted">{EVIDENCE_LEVELS[card.evidence_level]?.meaning}</p></div>
      <div><h3>Takes</h3><p>{card.takes}</p></div>
      <div><h3>Finds</h3><p>{card.finds.map((code) => code.meaning).join(", ")}</p></div>
      {card.operating_point !== null && <div><h3>Operating point</h3><p className="number">Probability {rounded(card.operating_point)}</p></div>}
      <Metrics metrics={card.metrics} />
      <List title="Limits" items={card.limits} />
      <List title="Data it was made with" items={card.data} />
      <div><h3>Licences</h3><p>Reader {card.reader_licence}; weights {card.weights_licence}</p></div>
    </article>
  );
}

function List({ title, items }: { title: string; items: string[] }) {
  if (!items.length) return null;
  return <div><h3>{title}</h3><ul>{items.map((item) => <li key={item}>{item}</li>)}</ul></div>;
}

function Metrics({ metrics }: { metrics: Record<string, unknown> }) {
  const rows = metricRows(metrics);
  if (!rows.length) return null;
  return (
    <div>
      <h3>Measured</h3>
      <table className="plain number">
        <thead><tr><th scope="col">Measure</th><th scope="col">Value</th><th scope="col">95% interval</th><th scope="col">n</th></tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}><td>{row.name}</td><td>{row.value}</td><td>{row.interval}</td><td>{row.n}</td></tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
