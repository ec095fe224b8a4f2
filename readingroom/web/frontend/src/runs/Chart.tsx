// Lines over steps, one a fold: told apart by colour, dashes and a label at the end. No library: one kind of chart.

import type { Curve } from "../api/runs";
import { rounded } from "../pages/metrics";
import { at, path, spread, ticks, type Scale } from "./chart";

const WIDTH = 760;
const HEIGHT = 280;
const LEFT = 58;
const RIGHT = 72;
const TOP = 12;
const BOTTOM = 40;
const COLOURS = 6;
const DASHES = 5;
const LABEL_GAP = 15;

export function Chart({ curves, title, steps }: { curves: Curve[]; title: string; steps: number | null }) {
  const lines = curves.filter((curve) => curve.values.length > 0);
  if (!lines.length) return <p className="muted">No step has been told yet.</p>;
  const values = lines.flatMap((curve) => curve.values);
  const ups = ticks(Math.min(...values), Math.max(...values));
  const acrosses = ticks(0, Math.max(steps ?? 0, ...lines.flatMap((curve) => curve.steps)), 6);
  const y: Scale = { low: ups[0] ?? 0, high: ups.at(-1) ?? 1, from: HEIGHT - BOTTOM, to: TOP };
  const x: Scale = { low: 0, high: acrosses.at(-1) ?? 1, from: LEFT, to: WIDTH - RIGHT };
  const ends = lines.map((curve) => at(y, curve.values.at(-1) ?? 0));
  const places = spread(ends, LABEL_GAP, HEIGHT - BOTTOM);
  const said = lines.map((curve) => `fold ${curve.fold + 1} ${rounded(curve.values.at(-1) ?? 0)}`).join(", ");
  return (
    <svg className="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title} over steps; last: ${said}`} data-testid="chart">
      {ups.map((value) => (
        <g key={value}>
          <line className="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={at(y, value)} y2={at(y, value)} />
          <text className="tick" x={LEFT - 8} y={at(y, value) + 4} textAnchor="end">{value}</text>
        </g>
      ))}
      {acrosses.map((value) => (
        <text key={value} className="tick" x={at(x, value)} y={HEIGHT - BOTTOM + 17} textAnchor="middle">{value}</text>
      ))}
      <text className="tick" x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 6} textAnchor="middle">step</text>
      {lines.map((curve, n) => {
        const kind = `colour-${curve.fold % COLOURS}`;
        const lastX = at(x, curve.steps.at(-1) ?? 0);
        return (
          <g key={curve.fold} className={kind} data-testid="chart-line">
            <title>{`fold ${curve.fold + 1}: ${rounded(curve.values.at(-1) ?? 0)} at step ${Math.round(curve.steps.at(-1) ?? 0)}`}</title>
            <path className={`line dash-${curve.fold % DASHES}`} d={path(curve.steps, curve.values, x, y)} />
            <circle className="end" cx={lastX} cy={ends[n]} r={3} />
            <path className="leader" d={`M${lastX + 4} ${ends[n]}L${WIDTH - RIGHT + 8} ${places[n]}`} />
            <text className="label" x={WIDTH - RIGHT + 12} y={(places[n] ?? 0) + 4}>fold {curve.fold + 1}</text>
          </g>
        );
      })}
    </svg>
  );
}
