// The simulated day: what triage saves and costs with numbers that somebody sets. No study, no patient.

import { json } from "./client";

/** Times in minutes; shares and rates 0..1. */
export interface DayInputs {
  studies_per_day: number;
  radiologists: number;
  reading_minutes: number;
  reading_sd_minutes: number;
  prevalence: number;
  sensitivity: number;
  specificity: number;
  reader_minutes: number;
  stat_share: number;
  high_share: number;
  days: number;
  seed: number;
}

export interface DayInterval {
  value: number;
  low: number | null;
  high: number | null;
}

export type DayGroupName = "positives" | "found" | "missed" | "negatives" | "false-alarms" | "true-negatives";

export interface DayGroup {
  name: DayGroupName;
  studies: number;
  wait_without: DayInterval;
  wait_with: DayInterval;
  /** Below zero: lost. */
  saved: DayInterval;
  worst_without: number;
  worst_with: number;
  percentiles_without: number[];
  percentiles_with: number[];
}

export interface SimulatedDay {
  days: number;
  seed: number;
  load: number;
  peak_load: number;
  percentiles: number[];
  groups: DayGroup[];
}

export const simulateDay = (inputs: DayInputs) => json<SimulatedDay>("POST", "/simulated-day", inputs);
