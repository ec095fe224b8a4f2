// What the drift page says in words. Pure; tested in tests/plot.test.ts.

import type { DriftPoint, DriftState, DriftStream } from "../api/drift";
import { rounded } from "../pages/metrics";

export const STATES: Record<DriftState, { sign: string; words: string; tone: "" | "good" | "bad" }> = {
  alarm: { sign: "◆", words: "alarm", tone: "bad" },
  "in-control": { sign: "✓", words: "in control", tone: "good" },
  gathering: { sign: "…", words: "not enough yet", tone: "" },
};

export const day = (iso: string): string => iso.slice(0, 10);

export function limitsText(point: DriftPoint): string {
  if (point.lower === null && point.upper === null) return "none";
  if (point.lower === null) return `at most ${rounded(point.upper ?? 0)}`;
  if (point.upper === null) return `at least ${rounded(point.lower)}`;
  return `${rounded(point.lower)} to ${rounded(point.upper)}`;
}

/** A number of the stream with its unit; a distance of distributions has none. */
export function numberText(stream: DriftStream, value: number): string {
  return stream.unit && stream.chart !== "ks" ? `${rounded(value)} ${stream.unit}` : rounded(value);
}

export function waitingText(stream: DriftStream): string {
  const goal = stream.baseline ? "a point" : "the baseline";
  return `${stream.waiting} of ${stream.needed} readings for ${goal}`;
}

export function baselineText(stream: DriftStream): string {
  const { baseline } = stream;
  if (!baseline) return "";
  const unit = stream.unit ? ` ${stream.unit}` : "";
  const spread = stream.chart === "p" ? "" : `, SD ${rounded(baseline.sd)}${unit}`;
  const what = stream.chart === "p" ? "share" : "mean";
  return `${baseline.n} readings, ${day(baseline.from_at)} to ${day(baseline.until_at)}: ${what} ${rounded(baseline.mean)}${unit}${spread}`;
}

/** The chart for who does not see it. */
export function chartText(stream: DriftStream): string {
  const out = stream.points.filter((point) => point.out).length;
  const newest = stream.points.at(-1);
  const now = newest ? ` Newest ${numberText(stream, newest.statistic)}, limits ${limitsText(newest)}.` : "";
  return `${stream.title}: ${stream.points.length} points, ${out} out of limits.${now}`;
}
