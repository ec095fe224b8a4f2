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
      return [{ name, value: rounded(value.value), interval: interval(value), n: value.n === undefined ? "" : String(value.n) }];
    }
    if (Array.isArray(value)) return [{ name, value: value.map(plain).join(", "), interval: "", n: "" }];
    if (typeof value === "object" && value !== null) return metricRows(value as Record<string, unknown>, name);
    return [{ name, value: plain(value), interval: "", n: "" }];
  });
}

function interval({ ci95 }: Metric): string {
  if (!ci95) return "";
  const [lower, upper] = ci95;
  return lower === null || upper === null ? "none: too few cases" : `${rounded(lower)} to ${rounded(upper)}`;
}

const plain = (value: unknown): string => (typeof value === "number" ? rounded(value) : String(value ?? ""));
