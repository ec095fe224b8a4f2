import { useState } from "react";
import { api } from "../api/client";
import { ErrorNote } from "../components/ErrorNote";
import { bytes } from "../format";
import { usePolling } from "../hooks";

const POLL_MS = 5000;

/** State of the house, as the server tells it: each part is a list of rows or a few facts, shown whatever it holds. */
export function SystemPage() {
  const [system, setSystem] = useState<Record<string, unknown> | null>(null);
  const [error, setError] = useState<unknown>(null);
  usePolling(async () => {
    try {
      setSystem(await api.system());
      setError(null);
    } catch (problem) {
      setError(problem);
    }
  }, POLL_MS, []);
  return (
    <main className="page" aria-busy={system === null}>
      <h1>System</h1>
      {error !== null && <ErrorNote error={error} />}
      {system === null && error === null && <p className="muted" role="status">Loading…</p>}
      {warningsOf(system).map((words) => <p key={words} className="note warn" role="alert">{words}</p>)}
      <div className="cards">
        {Object.entries(system ?? {}).filter(([name]) => name !== "warnings").map(([name, value]) => (
          <section key={name} className="card" data-testid={`system-${name}`}>
            <h2>{title(name)}</h2>
            <Part name={name} value={value} />
          </section>
        ))}
      </div>
    </main>
  );
}

const warningsOf = (system: Record<string, unknown> | null): string[] =>
  Array.isArray(system?.warnings) ? system.warnings.map(String) : [];

const title = (name: string): string => {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

function plain(name: string, value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return /bytes|size/.test(name) ? bytes(value) : String(Number(value.toFixed(2)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function Part({ name, value }: { name: string; value: unknown }) {
  if (Array.isArray(value)) return <Rows rows={value} />;
  if (typeof value === "object" && value !== null) {
    return (
      <dl className="facts number">
        {Object.entries(value).map(([key, one]) => (
          <div key={key} className="fact">
            <dt>{title(key)}</dt>
            <dd>{plain(key, one)}</dd>
          </div>
        ))}
      </dl>
    );
  }
  return <p className="number">{plain(name, value)}</p>;
}

function Rows({ rows }: { rows: unknown[] }) {
  if (!rows.length) return <p className="muted">None.</p>;
  const tables = rows.filter((row): row is Record<string, unknown> => typeof row === "object" && row !== null);
  if (tables.length !== rows.length) return <p>{rows.map(String).join(", ")}</p>;
  const columns = [...new Set(tables.flatMap((row) => Object.keys(row)))];
  return (
    <table className="plain number">
      <thead><tr>{columns.map((column) => <th key={column} scope="col">{title(column)}</th>)}</tr></thead>
      <tbody>
        {tables.map((row, n) => (
          <tr key={n}>{columns.map((column) => <td key={column}>{plain(column, row[column])}</td>)}</tr>
        ))}
      </tbody>
    </table>
  );
}
