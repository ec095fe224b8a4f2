import { useEffect, useMemo, useState } from "react";
import { api } from "../api/client";
import type { StudyFinding } from "../api/types";
import { gridOf, type Grid, type Mask, maskOf } from "./mask";
import type { LoadedSeries } from "./series";

export interface PlacedMask {
  mask: Mask;
  grid: Grid;
}

const AT_ONCE = 3;

/** Masks of the findings' segments by their address, loaded once each; a segment never changes. */
export function useSegments(findings: readonly StudyFinding[], series: LoadedSeries | null): Map<string, PlacedMask> {
  const [masks, setMasks] = useState<Map<string, Mask | null>>(new Map());
  const wanted = findings.map((one) => one.segment_url).filter((url) => url !== null).join("\n");
  useEffect(() => {
    let stopped = false;
    const waiting = wanted.split("\n").filter((url) => url && !masks.has(url));
    const worker = async (): Promise<void> => {
      for (let url = waiting.shift(); url && !stopped; url = waiting.shift()) {
        const address = url;
        const mask = await api.segment(address).then(maskOf).catch(() => null);
        if (!stopped) setMasks((old) => new Map(old).set(address, mask));
      }
    };
    for (let n = 0; n < AT_ONCE; n += 1) void worker();
    return () => {
      stopped = true;
    };
    // `masks` only tells what is there already; it must not start the loading anew.
  }, [wanted]);
  return useMemo(() => {
    const placed = new Map<string, PlacedMask>();
    for (const [url, mask] of masks) {
      const grid = mask && series ? gridOf(mask, series.bySop) : null;
      if (mask && grid) placed.set(url, { mask, grid });
    }
    return placed;
  }, [masks, series]);
}
