import type { StudySeries } from "../api/types";
import type { Window } from "./pane";

/** Windows in HU, by the keys 1 to 5. */
export const PRESETS: readonly (Window & { name: string })[] = [
  { name: "Lung", center: -600, width: 1500 },
  { name: "Mediastinum", center: 40, width: 400 },
  { name: "Bone", center: 500, width: 2000 },
  { name: "Brain", center: 40, width: 80 },
  { name: "Soft", center: 50, width: 350 },
];

const partOf = (series: StudySeries, key: string): string => {
  const type = series.type;
  return type && typeof type === "object" ? String(type[key] ?? "") : "";
};

/** The window a series opens with; null leaves the one its images name. */
export function firstWindow(series: StudySeries): Window | null {
  if (series.Modality !== "CT") return null;
  const byRegion: Record<string, number> = { chest: 0, head: 3, abdomen: 4, pelvis: 4, limb: 2 };
  const preset = PRESETS[byRegion[partOf(series, "region")] ?? 1];
  return preset ? { center: preset.center, width: preset.width } : null;
}

/** The series to open: the one the readings are about, else the largest that is no localizer. */
export function firstSeries(series: readonly StudySeries[], read: ReadonlySet<string>): StudySeries | null {
  const rank = (one: StudySeries): number =>
    (read.has(one.SeriesInstanceUID) ? 1e6 : 0) + (partOf(one, "kind").endsWith("volume") ? 1e5 : 0) + one.images.length;
  const withImages = series.filter((one) => one.images.length > 0);
  return [...withImages].sort((a, b) => rank(b) - rank(a))[0] ?? null;
}
