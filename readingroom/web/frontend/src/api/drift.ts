// Calls about how readers do over time on each scanner. Nothing here is about a patient.

import { json } from "./client";

export type DriftState = "gathering" | "in-control" | "alarm";
export type ChartKind = "p" | "ewma" | "ks";

export interface DriftPoint {
  number: number;
  from_at: string;
  until_at: string;
  n: number;
  /** Share, mean or distance of this point's readings alone. */
  value: number;
  /** What is held against the limits; of an EWMA it remembers earlier points. */
  statistic: number;
  centre: number;
  lower: number | null;
  upper: number | null;
  out: boolean;
}

export interface DriftStream {
  measure: string;
  title: string;
  unit: string;
  about: string;
  chart: ChartKind;
  source: string;
  state: DriftState;
  alarm_since: string | null;
  last_at: string | null;
  baseline: { n: number; mean: number; sd: number; from_at: string; until_at: string } | null;
  /** Readings that are there for the next step, and how many it takes. */
  waiting: number;
  needed: number;
  newest: DriftPoint | null;
  points: DriftPoint[];
}

/** A version of a reader on one kind of scanner. */
export interface DriftWatch {
  id: string;
  reader: string;
  version: string;
  scanner: string;
  state: DriftState;
  streams: DriftStream[];
  restarts: { at: string; actor: string; reason: string }[];
}

const watch = (id: string): string => `/drift/${encodeURIComponent(id)}`;

export const drift = {
  watches: () => json<DriftWatch[]>("GET", "/drift"),
  watch: (id: string) => json<DriftWatch>("GET", watch(id)),
  restart: (id: string, reason: string) => json<void>("POST", `${watch(id)}/restart`, { reason }),
};
