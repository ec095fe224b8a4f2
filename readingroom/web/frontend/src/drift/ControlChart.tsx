import type { DriftStream } from "../api/drift";
import { HEIGHT, plot, WIDTH } from "./plot";
import { chartText, day, limitsText, numberText } from "./words";

/** Points with centre line and limits; what is out of limits is a diamond, not only another colour. */
export function ControlChart({ stream }: { stream: DriftStream }) {
  const drawn = plot(stream);
  const [first, last] = [stream.points[0], stream.points.at(-1)];
  return (
    <svg className="control-chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={chartText(stream)} data-testid="control-chart">
      <path className="centre" d={drawn.centre} />
      <path className="limit" d={drawn.lower} />
      <path className="limit" d={drawn.upper} />
      {drawn.marks.map((mark) => <text key={mark.y} className="mark" x={48} y={mark.y + 4}>{mark.text}</text>)}
      {drawn.alone.map((dot, index) => <circle key={index} className="alone" cx={dot.x} cy={dot.y} r={2.2} />)}
      <path className="line" d={drawn.line} />
      {drawn.dots.map(({ x, y, point }) => (
        <g key={point.number} className={point.out ? "out" : "in"} data-testid={point.out ? "point-out" : "point"}>
          <title>{`${day(point.until_at)}: ${numberText(stream, point.statistic)} (limits ${limitsText(point)}, ${point.n} readings)`}</title>
          {point.out
            ? <path d={`M${x},${y - 6}L${x + 6},${y}L${x},${y + 6}L${x - 6},${y}Z`} />
            : <circle cx={x} cy={y} r={2.8} />}
        </g>
      ))}
      {first && <text className="day" x={54} y={HEIGHT - 6}>{day(first.until_at)}</text>}
      {last && last !== first && <text className="day end" x={WIDTH - 12} y={HEIGHT - 6}>{day(last.until_at)}</text>}
    </svg>
  );
}
