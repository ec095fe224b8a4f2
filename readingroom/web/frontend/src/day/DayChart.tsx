// How long studies wait, without and with triage: the share that somebody has begun to read after so many minutes.

import type { DayGroup, SimulatedDay } from "../api/day";
import { at, path, spread, ticks, type Scale } from "../runs/chart";
import { GROUPS } from "./day";

const WIDTH = 760;
const HEIGHT = 300;
const LEFT = 48;
const RIGHT = 200;
const TOP = 12;
const BOTTOM = 40;
const LABEL_GAP = 16;
/** The slowest one in twenty have so long a tail that nothing else would be seen. */
const LAST_PERCENT = 95;

interface Line {
  key: string;
  name: string;
  className: string;
  dash: string;
  minutes: number[];
}

export function DayChart({ day }: { day: SimulatedDay }) {
  const percents = day.percentiles.filter((one) => one <= LAST_PERCENT);
  const lines = day.groups.filter((group) => group.name === "positives" || group.name === "negatives").flatMap(linesOf(percents.length));
  const longest = Math.max(1, ...lines.map((line) => line.minutes.at(-1) ?? 0));
  const acrosses = ticks(0, longest, 6);
  const x: Scale = { low: 0, high: acrosses.at(-1) ?? 1, from: LEFT, to: WIDTH - RIGHT };
  const y: Scale = { low: 0, high: 100, from: HEIGHT - BOTTOM, to: TOP };
  // Where a line ends at the right or at 95 %, its name stands beside it.
  const places = spread(lines.map((_, n) => TOP + 30 + n * LABEL_GAP), LABEL_GAP, HEIGHT - BOTTOM);
  return (
    <svg className="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label="Share of studies begun to be read, by minutes waited; the table says the same in numbers" data-testid="day-chart">
      {[0, 25, 50, 75, 100].map((value) => (
        <g key={value}>
          <line className="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={at(y, value)} y2={at(y, value)} />
          <text className="tick" x={LEFT - 8} y={at(y, value) + 4} textAnchor="end">{value}%</text>
        </g>
      ))}
      {acrosses.map((value) => (
        <text key={value} className="tick" x={at(x, value)} y={HEIGHT - BOTTOM + 17} textAnchor="middle">{value}</text>
      ))}
      <text className="tick" x={(LEFT + WIDTH - RIGHT) / 2} y={HEIGHT - 6} textAnchor="middle">minutes waited until somebody begins to read</text>
      {lines.map((line, n) => (
        <g key={line.key} className={line.className} data-testid="day-line">
          <path className={`line ${line.dash}`} d={path(line.minutes, percents, x, y)} />
          <path className={`line ${line.dash}`} d={`M${WIDTH - RIGHT + 12} ${places[n]}h26`} />
          <text className="label" x={WIDTH - RIGHT + 44} y={(places[n] ?? 0) + 4}>{line.name}</text>
        </g>
      ))}
    </svg>
  );
}

const linesOf = (length: number) => (group: DayGroup): Line[] => {
  const className = group.name === "positives" ? "colour-1" : "colour-0";
  return [
    { key: `${group.name} without`, name: `${short(group)}, without`, className, dash: "dash-1", minutes: group.percentiles_without.slice(0, length) },
    { key: `${group.name} with`, name: `${short(group)}, with triage`, className, dash: "", minutes: group.percentiles_with.slice(0, length) },
  ];
};

const short = (group: DayGroup): string => GROUPS[group.name].replace("With the finding", "Finding").replace("Without the finding", "No finding");
