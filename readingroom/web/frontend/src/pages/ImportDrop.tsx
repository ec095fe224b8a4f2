import { type DragEvent, useState } from "react";
import { access } from "../api/access";
import { api } from "../api/client";
import type { ImportSummary } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { bytes } from "../format";
import { useLoaded } from "./useLoaded";

interface Running {
  done: number;
  total: number;
  sent: number;
  size: number;
}

/** A place to drop DICOM files or zips: sent one by one, with progress and a count of what became of them. */
export function ImportDrop({ onImported }: { onImported: () => void }) {
  const [over, setOver] = useState(false);
  const [running, setRunning] = useState<Running | null>(null);
  const [summary, setSummary] = useState<ImportSummary | null>(null);
  const [error, setError] = useState<unknown>(null);
  const { value: places } = useLoaded(access.importPlaces);
  const [project, setProject] = useState("");

  const send = async (files: File[]): Promise<void> => {
    if (!files.length || running) return;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    const sum: ImportSummary = { accepted: 0, duplicates: 0, corrected: 0, quarantined: [] };
    let before = 0;
    setSummary(null);
    setError(null);
    setRunning({ done: 0, total: files.length, sent: 0, size });
    try {
      for (const [index, file] of files.entries()) {
        const answer = await api.importFile(file, project, (fraction) =>
          setRunning({ done: index, total: files.length, sent: before + fraction * file.size, size }),
        );
        before += file.size;
        sum.accepted += answer.accepted ?? 0;
        sum.duplicates += answer.duplicates ?? 0;
        sum.corrected += answer.corrected ?? 0;
        sum.quarantined.push(...(answer.quarantined ?? []));
      }
    } catch (problem) {
      setError(problem);
    }
    setSummary(sum);
    setRunning(null);
    onImported();
  };

  const drop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    void send([...event.dataTransfer.files]);
  };

  return (
    <div className="stack">
      {places && places.projects.length > 1 && (
        <label className="row muted">
          Into
          <select value={project || places.projects[0]} onChange={(event) => setProject(event.target.value)} data-testid="import-project">
            {places.projects.map((one) => <option key={one} value={one}>{one}</option>)}
          </select>
        </label>
      )}
      <label
        className={over ? "drop over" : "drop"} data-testid="import-drop" onDrop={drop}
        onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)}
      >
        Drop DICOM files or a zip here
        <input
          type="file" multiple disabled={running !== null} data-testid="import-input"
          onChange={(event) => { void send([...(event.target.files ?? [])]); event.target.value = ""; }}
        />
        <span className="button">Import…</span>
      </label>
      {running && (
        <div role="status" data-testid="import-progress">
          <span className="muted number">
            {running.done + 1} of {running.total} · {bytes(running.sent)} of {bytes(running.size)}
            {running.sent >= running.size && " · being stored"}
          </span>
          <progress value={running.size ? running.sent / running.size : 0} max={1} aria-label="Import" />
        </div>
      )}
      {summary && <Outcome summary={summary} />}
      {error !== null && <ErrorNote error={error} />}
    </div>
  );
}

function Outcome({ summary }: { summary: ImportSummary }) {
  const { quarantined } = summary;
  return (
    <div className={quarantined.length ? "note warn" : "note good"} role="status" data-testid="import-outcome">
      {summary.accepted} accepted, {summary.duplicates} already there, {summary.corrected} corrected,{" "}
      {quarantined.length} quarantined.
      {[...new Set(quarantined.map((one) => one.reason))].slice(0, 3).map((reason) => (
        <span key={reason} className="hint">{reason}</span>
      ))}
    </div>
  );
}
