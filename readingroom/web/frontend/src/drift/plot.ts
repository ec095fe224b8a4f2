// Where the parts of a control chart lie, in units of its SVG. Pure; tested in tests/plot.test.ts.

import type { DriftPoint, DriftStream } from "../api/drift";
import { rounded } from "../pages/metrics";

export const WIDTH = 460;
export const HEIGHT = 170;
const LEFT = 54;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 26;
/** Two texts nearer than this run into each other. */
const TEXT_HEIGHT = 13;

export interface Dot {
  x: number;
  y: number;
  point: DriftPoint;
}

export interface Plot {
  dots: Dot[];
  /** What the readings of each point said alone, where the statistic remembers earlier ones. */
  alone: { x: number; y: number }[];
  line: string;
  centre: string;
  lower: string;
  upper: string;
  marks: { y: number; text: string }[];
}

export function plot(stream: DriftStream): Plot {
  const { points } = stream;
  const y = heights(stream);
  const step = (WIDTH - LEFT - RIGHT) / Math.max(points.length - 1, 1);
  const x = (index: number): number => (points.length === 1 ? (WIDTH + LEFT - RIGHT) / 2 : LEFT + index * step);
  const across = (of: (point: DriftPoint) => number | null): string => {
    const known = points.flatMap((point, index) => {
      const value = of(point);
      return value === null ? [] : [[x(index), y(value)] as const];
    });
    const [first, last] = [known[0], known.at(-1)];
    if (!first || !last) return "";
    return path([[LEFT, first[1]], ...known, [WIDTH - RIGHT, last[1]]]);
  };
  return {
    dots: points.map((point, index) => ({ x: x(index), y: y(point.statistic), point })),
    alone: stream.chart === "ewma" ? points.map((point, index) => ({ x: x(index), y: y(point.value) })) : [],
    line: path(points.map((point, index) => [x(index), y(point.statistic)])),
    centre: across((point) => point.centre),
    lower: across((point) => point.lower),
    upper: across((point) => point.upper),
    marks: marks(points.at(-1), y),
  };
}

const path = (places: readonly (readonly [number, number])[]): string =>
  places.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");

/** From a value to its height: all that is drawn fits, with a little air. */
function heights(stream: DriftStream): (value: number) => number {
  const values = stream.points.flatMap((point) =>
    [point.statistic, point.centre, point.lower, point.upper, stream.chart === "ewma" ? point.value : null]
      .filter((value): value is number => value !== null));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const air = most > least ? (most - least) * 0.08 : Math.abs(most) * 0.1 || 1;
  const [low, high] = [least - air, most + air];
  return (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
}

/** Numbers beside the limits and the centre; the centre's is left out where it would be written over. */
function marks(newest: DriftPoint | undefined, y: (value: number) => number): Plot["marks"] {
  if (!newest) return [];
  const limits = [newest.upper, newest.lower].filter((value): value is number => value !== null);
  const written = limits.map((value) => ({ y: y(value), text: rounded(value) }));
  const centre = { y: y(newest.centre), text: rounded(newest.centre) };
  return written.some((mark) => Math.abs(mark.y - centre.y) < TEXT_HEIGHT) ? written : [...written, centre];
}
