// From z to a colour that people who see no red or green can read, and to a number beside it. Pure.

import type { Region } from "../api/norms";

/** Beyond this many standard deviations colours do not change any more. */
export const END = 3;
/** Outside the 95 % band of controls. */
export const FAR = 1.96;

const NEUTRAL = [52, 66, 76] as const;
const ORANGE = [255, 150, 48] as const;
const BLUE = [84, 160, 255] as const;

/** How far in the direction of disease: small volumes and thin cortex, large ventricles, asymmetry to either side. */
export const worse = (region: Pick<Region, "kind" | "z" | "larger_is_worse">): number =>
  region.kind === "asymmetry" ? Math.abs(region.z) : region.larger_is_worse ? region.z : -region.z;

export function colour(abnormal: number): string {
  const end = abnormal > 0 ? ORANGE : BLUE;
  const share = Math.min(Math.abs(abnormal) / END, 1);
  return `rgb(${NEUTRAL.map((from, index) => Math.round(from + share * ((end[index] ?? from) - from))).join(",")})`;
}

/** Black or white, whichever is read better on the colour. */
export const ink = (abnormal: number): string => (Math.abs(abnormal) > 1.4 ? "#0a0f13" : "#e8eef2");

export const signed = (z: number): string => `${z < 0 ? "−" : "+"}${Math.abs(z).toFixed(1)}`;

/** A value as people write it: volumes in ml, thickness in mm. */
export function valueText(value: number, unit: string): string {
  if (unit === "mm3") return `${value >= 100000 ? (value / 1000).toFixed(0) : (value / 1000).toFixed(2)} ml`;
  return unit === "mm" ? `${value.toFixed(2)} mm` : value.toFixed(3);
}
