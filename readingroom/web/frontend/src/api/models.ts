// Calls about reader versions: their states, who changed them and why, and how those in shadow compare.

import { json } from "./client";
import type { Card } from "./types";

export type ModelState = "candidate" | "shadow" | "live" | "retired";
export type ModelAction = "shadow" | "promote" | "rollback" | "retire";

export interface ModelChange {
  action: string;
  state: ModelState;
  at: string;
  actor: string;
  why: string;
}

export interface Estimate {
  value: number;
  low: number | null;
  high: number | null;
  n: number;
}

/** Of a version in shadow with the live one, on the same images. Null: too little to say. */
export interface Comparison {
  studies: number;
  states: Record<string, number>;
  live_versions: string[];
  both_looked: number;
  live_findings: number;
  shadow_findings: number;
  same_findings: number;
  live_found_again: Estimate | null;
  shadow_known: Estimate | null;
  kappa: Estimate | null;
  score_correlation: number | null;
  live_seconds: number | null;
  shadow_seconds: number | null;
}

export interface ModelVersion {
  id: string;
  reader: string;
  version: string;
  state: ModelState;
  /** Why it is not as it was signed, or empty. */
  error: string;
  reads_here: boolean;
  source: string;
  files: Record<string, string>;
  card: Card | null;
  /** Newest first. */
  changes: ModelChange[];
  comparison: Comparison | null;
}

export interface InstalledReader {
  reader: string;
  version: string;
  title: string;
  error: string;
  live: boolean;
}

export const models = {
  all: () => json<{ installed: InstalledReader[]; items: ModelVersion[] }>("GET", "/models"),
  change: (id: string, body: { action: ModelAction; why: string }) =>
    json<ModelVersion>("POST", `/models/${encodeURIComponent(id)}/change`, body),
};
