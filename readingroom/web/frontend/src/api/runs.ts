// Training runs: what `/runs` tells, and the two calls.

import { json } from "./client";

export type RunState = "preparing" | "training" | "done" | "stopped" | "interrupted" | "unreadable";

export interface RunSummary {
  id: string;
  name: string;
  state: RunState;
  /** Why it can't be read, or how to go on. */
  reason: string;
  reader: string;
  version: string;
  started_at: string | null;
  ended_at: string | null;
  seconds: number;
  budget_seconds: number | null;
  left_seconds: number | null;
  /** 0..1, over all folds. */
  progress: number;
  /** From 0. */
  fold: number | null;
  folds: number | null;
  step: number | null;
  steps: number | null;
}

/** `name`: `loss` or a part of it. */
export interface Curve {
  fold: number;
  name: string;
  steps: number[];
  values: number[];
}

export interface Judged {
  fold: number;
  n: number | null;
  metrics: Record<string, number>;
}

export interface Trial {
  trial: number;
  settings: Record<string, unknown>;
  epochs: number;
  state: "done" | "failed";
  score: number | null;
  reason: string;
  seconds: number;
  chosen: boolean;
}

export interface Run extends RunSummary {
  facts: Record<string, unknown>;
  curves: Curve[];
  validation: Judged[];
  select: string;
  direction: "" | "maximise" | "minimise";
  trials: Trial[];
  notes: string[];
}

export const runsApi = {
  list: () => json<{ total: number; items: RunSummary[] }>("GET", "/runs"),
  one: (id: string) => json<Run>("GET", `/runs/${encodeURIComponent(id)}`),
};
