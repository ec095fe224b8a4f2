// Words, numbers and operating points of the simulated day. Pure; tested in tests/day.test.ts.

import type { DayGroup, DayGroupName, DayInputs, DayInterval } from "../api/day";
import type { Card, Metric } from "../api/types";

export const START: DayInputs = {
  studies_per_day: 120, radiologists: 2, reading_minutes: 15, reading_sd_minutes: 10, prevalence: 0.08,
  sensitivity: 0.9, specificity: 0.9, reader_minutes: 2, stat_share: 0.1, high_share: 0.15, days: 100, seed: 1,
};

export interface Field {
  key: keyof DayInputs;
  label: string;
  /** Shown in per cent. */
  share?: boolean;
  min: number;
  max: number;
  step: number;
}

export const FIELDS: { title: string; fields: Field[] }[] = [
  {
    title: "The department",
    fields: [
      { key: "studies_per_day", label: "Studies a day", min: 1, max: 2000, step: 1 },
      { key: "radiologists", label: "Radiologists at work", min: 1, max: 50, step: 1 },
      { key: "reading_minutes", label: "Minutes to read one, mean", min: 0.5, max: 240, step: 0.5 },
      { key: "reading_sd_minutes", label: "Minutes to read one, standard deviation", min: 0, max: 240, step: 0.5 },
      { key: "stat_share", label: "Ordered as stat, %", share: true, min: 0, max: 100, step: 1 },
      { key: "high_share", label: "Ordered with high priority, %", share: true, min: 0, max: 100, step: 1 },
    ],
  },
  {
    title: "The finding and the reader",
    fields: [
      { key: "prevalence", label: "Studies that have the finding, %", share: true, min: 0, max: 100, step: 0.1 },
      { key: "sensitivity", label: "Sensitivity, %", share: true, min: 0, max: 100, step: 0.1 },
      { key: "specificity", label: "Specificity, %", share: true, min: 0, max: 100, step: 0.1 },
      { key: "reader_minutes", label: "Minutes until the reader has spoken", min: 0, max: 1440, step: 0.5 },
    ],
  },
  {
    title: "The simulation",
    fields: [
      { key: "days", label: "Simulated days", min: 2, max: 500, step: 1 },
      { key: "seed", label: "Seed", min: 0, max: 2147483647, step: 1 },
    ],
  },
];

export const GROUPS: Record<DayGroupName, string> = {
  positives: "With the finding",
  found: "… that the reader raised",
  missed: "… that the reader missed",
  negatives: "Without the finding",
  "false-alarms": "… raised all the same",
  "true-negatives": "… not raised",
};

const one = (value: number): string => (Math.abs(value) < 0.05 ? "0.0" : value.toFixed(1));

export function interval({ value, low, high }: DayInterval): string {
  return low === null || high === null ? one(value) : `${one(value)} (${one(low)} to ${one(high)})`;
}

/** What triage does for one kind of study, in a sentence. */
export function sentence(group: DayGroup, who: string): string {
  const { value, low, high } = group.saved;
  const apart = low !== null && high !== null && (low > 0 || high < 0);
  if (!apart) return `${who} wait about as long as before: the difference (${interval(group.saved)} minutes) is within chance.`;
  const turned = (at: number): string => one(Math.abs(at));
  const [near, far] = value < 0 ? [high, low] : [low, high];
  return `${who} wait ${turned(value)} minutes ${value < 0 ? "longer" : "less"} on average (95% interval ${turned(near)} to ${turned(far)}).`;
}

export interface OperatingPoint {
  name: string;
  sensitivity: number;
  specificity: number;
}

const isMetric = (value: unknown): value is Metric =>
  typeof value === "object" && value !== null && typeof (value as Metric).value === "number";

const numberOf = (value: unknown): number | null => (typeof value === "number" ? value : isMetric(value) ? value.value : null);

/** The operating points on a card: each pair of `sensitivity…` and `specificity…` that lie beside each other. */
export function operatingPoints(card: Card): OperatingPoint[] {
  return within(card.metrics, `${card.title}`);
}

function within(metrics: Record<string, unknown>, name: string): OperatingPoint[] {
  return Object.entries(metrics).flatMap(([key, value]) => {
    const sensitivity = numberOf(value);
    if (key.startsWith("sensitivity") && sensitivity !== null) {
      const what = key.slice("sensitivity".length);
      const specificity = numberOf(metrics[`specificity${what}`]);
      const words = what.replaceAll("_", " ").trim();
      return specificity === null ? [] : [{ name: words ? `${name}: ${words}` : name, sensitivity, specificity }];
    }
    if (sensitivity !== null || typeof value !== "object" || value === null || Array.isArray(value)) return [];
    return within(value as Record<string, unknown>, key === "metrics" ? name : `${name}, ${key.replaceAll("_", " ")}`);
  });
}
