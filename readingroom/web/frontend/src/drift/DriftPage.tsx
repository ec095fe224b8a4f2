// How a reader does on a scanner over time: control charts of what it says, of its input, and of what people made of it.

import { useCallback, useState } from "react";
import { may } from "../api/client";
import { drift, type DriftWatch } from "../api/drift";
import type { Account } from "../api/types";
import { Badge } from "../components/Chips";
import { ErrorNote } from "../components/ErrorNote";
import { localTime } from "../format";
import { useLoaded } from "../pages/useLoaded";
import { driftPath, go } from "../router";
import { RestartDialog } from "./RestartDialog";
import { StreamCard } from "./StreamCard";
import { STATES } from "./words";
import "../styles/drift.css";

/** `watchId`: the one that the address names; else the first, which is in alarm if any is. */
export function DriftPage({ me, watchId }: { me: Account; watchId: string | null }) {
  const { value, error, again } = useLoaded(drift.watches);
  const chosen = watchId ?? value?.[0]?.id ?? null;
  return (
    <main className="page stack" aria-busy={value === null}>
      <div className="row">
        <h1>Drift</h1>
        <button type="button" onClick={again}>Refresh</button>
      </div>
      <p className="muted">
        Each reader is held, on each kind of scanner, against its own first readings there. Numbers are of many studies together; none is of a patient.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value?.length === 0 && (
        <div className="empty" data-testid="drift-empty">
          <p>Nothing is watched yet.</p>
          <p className="muted">The worker takes in new readings every few minutes. A chart begins once a reader has read about a hundred studies of one kind of scanner.</p>
        </div>
      )}
      {value && value.length > 0 && chosen && (
        <>
          <Choice watches={value} chosen={chosen} />
          <Watch key={chosen} id={chosen} me={me} list={value} onChanged={again} />
        </>
      )}
    </main>
  );
}

const readerOf = (watch: DriftWatch): string => `${watch.reader} ${watch.version}`;

function Choice({ watches, chosen }: { watches: DriftWatch[]; chosen: string }) {
  const readers = [...new Set(watches.map(readerOf))].sort();
  const now = watches.find((watch) => watch.id === chosen);
  const reader = now ? readerOf(now) : "";
  const scanners = watches.filter((watch) => readerOf(watch) === reader);
  const alarmed = (of: DriftWatch[]): string => (of.some((watch) => watch.state === "alarm") ? `${STATES.alarm.sign} ` : "");
  return (
    <div className="row low">
      <label className="field">
        Reader
        <select
          value={reader} data-testid="drift-reader"
          onChange={(event) => {
            const first = watches.find((watch) => readerOf(watch) === event.target.value);
            if (first) go(driftPath(first.id));
          }}
        >
          {readers.map((name) => <option key={name} value={name}>{alarmed(watches.filter((watch) => readerOf(watch) === name))}{name}</option>)}
        </select>
      </label>
      <label className="field">
        Scanner
        <select value={chosen} onChange={(event) => go(driftPath(event.target.value))} data-testid="drift-scanner">
          {scanners.map((watch) => <option key={watch.id} value={watch.id}>{alarmed([watch])}{watch.scanner}</option>)}
        </select>
      </label>
    </div>
  );
}

/** `list`: what was loaded of all; when it is loaded anew, so is this one. */
function Watch({ id, me, list, onChanged }: { id: string; me: Account; list: DriftWatch[]; onChanged: () => void }) {
  const load = useCallback(() => drift.watch(id), [id, list]);
  const { value, error, again } = useLoaded(load);
  const [restarting, setRestarting] = useState(false);
  if (error !== null) return <ErrorNote error={error} onRetry={again} />;
  if (value === null) return <p className="muted" role="status">Loading…</p>;
  const { sign, words, tone } = STATES[value.state];
  return (
    <>
      <div className="row" data-testid="drift-watch" data-state={value.state}>
        <Badge tone={tone}>{`${sign} ${words}`}</Badge>
        {value.streams.some((stream) => stream.points.length > 0) && (
          <span className="muted">◆ out of limits · solid line: centre · dashed: limits · small rings: readings of one point alone</span>
        )}
        <span className="grow" />
        {may(me, "drift:restart") && <button type="button" onClick={() => setRestarting(true)} data-testid="drift-restart">New baseline…</button>}
      </div>
      {value.restarts.map((restart) => (
        <p key={restart.at} className="note info">Baselines begun anew {localTime(restart.at)} by {restart.actor}: {restart.reason}</p>
      ))}
      <div className="cards">
        {value.streams.map((stream) => <StreamCard key={stream.measure} stream={stream} />)}
      </div>
      {restarting && <RestartDialog watch={value} onDone={() => { setRestarting(false); onChanged(); }} onClose={() => setRestarting(false)} />}
    </>
  );
}
