import type { DriftStream } from "../api/drift";
import { Badge } from "../components/Chips";
import { localTime } from "../format";
import { ControlChart } from "./ControlChart";
import { baselineText, day, limitsText, numberText, STATES, waitingText } from "./words";

/** One measure: its chart, where it stands, what it is held against, and its numbers. */
export function StreamCard({ stream }: { stream: DriftStream }) {
  const { sign, words, tone } = STATES[stream.state];
  return (
    <section className="card drift-stream" aria-label={stream.title} data-testid="drift-stream" data-measure={stream.measure} data-state={stream.state}>
      <div className="row">
        <h2>{stream.title}{stream.unit && stream.chart !== "ks" ? ` (${stream.unit})` : ""}</h2>
        <span className="grow" />
        <Badge tone={tone}>{`${sign} ${words}${stream.alarm_since ? ` since ${localTime(stream.alarm_since)}` : ""}`}</Badge>
      </div>
      <p className="muted">{stream.about}</p>
      {stream.points.length > 0
        ? <ControlChart stream={stream} />
        : <div className="waiting"><p>Not enough yet: {waitingText(stream)}.</p><progress value={stream.waiting} max={stream.needed} aria-label={waitingText(stream)} /></div>}
      <dl className="facts number">
        {stream.newest && <div className="fact"><dt>Newest</dt><dd>{numberText(stream, stream.newest.statistic)} (limits {limitsText(stream.newest)})</dd></div>}
        {stream.baseline && <div className="fact"><dt>Baseline</dt><dd>{baselineText(stream)}</dd></div>}
        {stream.points.length > 0 && <div className="fact"><dt>Waiting</dt><dd>{waitingText(stream)}</dd></div>}
      </dl>
      {stream.points.length > 0 && <Numbers stream={stream} />}
    </section>
  );
}

function Numbers({ stream }: { stream: DriftStream }) {
  return (
    <details>
      <summary>Numbers and method</summary>
      <p className="muted">{stream.source}.</p>
      <table className="plain number">
        <thead>
          <tr>
            <th scope="col">From</th><th scope="col">To</th><th scope="col">Readings</th>
            {stream.chart === "ewma" && <th scope="col">Alone</th>}
            <th scope="col">{stream.chart === "ewma" ? "Weighted" : stream.chart === "ks" ? "Distance" : "Share"}</th>
            <th scope="col">Limits</th><th scope="col">State</th>
          </tr>
        </thead>
        <tbody>
          {[...stream.points].reverse().map((point) => (
            <tr key={point.number}>
              <td>{day(point.from_at)}</td><td>{day(point.until_at)}</td><td>{point.n}</td>
              {stream.chart === "ewma" && <td>{numberText(stream, point.value)}</td>}
              <td>{numberText(stream, point.statistic)}</td>
              <td>{limitsText(point)}</td>
              <td>{point.out ? "◆ out" : "in"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
