// The measures of a card as rows. Cards nest them as they like (`locked` > `metrics` > `sensitivity`). Pure.

import type { Metric } from "../api/types";

export interface MetricRow {
  name: string;
  value: string;
  interval: string;
  n: string;
}

const isMetric = (value: unknown): value is Metric =>
  typeof value === "object" && value !== null && typeof (value as Metric).value === "number";

export const rounded = (value: number): string => String(Number(value.toPrecision(3)));

export function metricRows(metrics: Record<string, unknown>, under = ""): MetricRow[] {
  return Object.entries(metrics).flatMap(([key, value]) => {
    const name = (under && key === "metrics" ? under : [under, key].filter(Boolean).join(", ")).replaceAll("_", " ");
    if (isMetric(value)) {
      const interval = value.ci95 ? `${rounded(value.ci95[0])} to ${rounded(value.ci95[1])}` : "";
      return [{ name, value: rounded(value.value), interval, n: value.n === undefined ? "" : String(value.n) }];
    }
    if (Array.isArray(value)) return [{ name, value: value.map(plain).join(", "), interval: "", n: "" }];
    if (typeof value === "object" && value !== null) return metricRows(value as Record<string, unknown>, name);
    return [{ name, value: plain(value), interval: "", n: "" }];
  });
}

const plain = (value: unknown): string => (typeof value === "number" ? rounded(value) : String(value ?? ""));
