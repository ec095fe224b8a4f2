// The heat map of the chosen finding: loaded when somebody wants to see it, coloured by viridis.

import { useEffect, useMemo, useState } from "react";
import { api } from "../api/client";
import type { StudyFinding } from "../api/types";
import { gridOf, heatMapOf, type Mask } from "./mask";
import type { LoadedSeries } from "./series";
import type { PlacedMask } from "./useSegments";
import viridis from "./viridis.json";

export const OPACITY = 0.5;

/** Red, green and blue of each of the 256 levels. */
export const COLOURS: readonly (readonly [number, number, number])[] = viridis.colours.map(
  (hex) => [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number],
);

/** Whether a reader made a heat map for any of these findings. */
export const hasHeat = (findings: readonly StudyFinding[]): boolean =>
  findings.some((item) => item.heat_map_url !== null || item.original?.evidence.heat_map);

export interface Heat {
  /** Why there is none to show for the chosen finding; empty where there is one. */
  none: string;
  loading: boolean;
  error: unknown;
  placed: PlacedMask | null;
}

/** The chosen finding's heat map, placed on the series shown. Nothing is loaded before it is wanted. */
export function useHeatMap(item: StudyFinding | null, wanted: boolean, series: LoadedSeries | null): Heat {
  const url = item?.heat_map_url ?? null;
  const [loaded, setLoaded] = useState<{ url: string; map: Mask | null; error: unknown } | null>(null);
  useEffect(() => {
    if (!url || !wanted) return;
    let left = false;
    setLoaded(null);
    api.heatMap(url).then(heatMapOf).then(
      (map) => { if (!left) setLoaded({ url, map, error: null }); },
      (error: unknown) => { if (!left) setLoaded({ url, map: null, error }); },
    );
    return () => { left = true; };
  }, [url, wanted]);
  const here = loaded?.url === url ? loaded : null;
  const map = wanted ? (here?.map ?? null) : null;
  const placed = useMemo(() => {
    const grid = map && series ? gridOf(map, series.bySop) : null;
    return map && grid ? { mask: map, grid } : null;
  }, [map, series]);
  const elsewhere = map !== null && series !== null && placed === null;
  return {
    none: whyNone(item) || (elsewhere ? "The heat map lies on another series than the one shown." : ""),
    loading: wanted && url !== null && here === null,
    error: wanted ? (here?.error ?? null) : null,
    placed,
  };
}

function whyNone(item: StudyFinding | null): string {
  if (!item) return "No finding is chosen.";
  if (item.heat_map_url) return "";
  if (!item.reading_id) return "A person added this finding: no network looked.";
  return item.original?.evidence.heat_map ? "The finding was moved or resized: the heat map no longer belongs to it." : "The reader made no heat map for this finding.";
}
