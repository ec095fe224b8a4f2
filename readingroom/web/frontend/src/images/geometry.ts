// Geometry of images in the patient. Pure. Positions and directions are LPS millimetres (+x left, +y posterior, +z
// head; PS3.3 C.7.6.2.1.1); a pixel's place is its centre, column and row counted from 0.

import type { Point3 } from "../api/types";

export const add = (a: Point3, b: Point3): Point3 => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const subtract = (a: Point3, b: Point3): Point3 => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a: Point3, factor: number): Point3 => [a[0] * factor, a[1] * factor, a[2] * factor];
export const dot = (a: Point3, b: Point3): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a: Point3, b: Point3): Point3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
export const norm = (a: Point3): number => Math.hypot(a[0], a[1], a[2]);
export const distance = (a: Point3, b: Point3): number => norm(subtract(a, b));
export const unit = (a: Point3): Point3 => {
  const length = norm(a);
  return length ? scale(a, 1 / length) : [0, 0, 0];
};

/** One image's plane. `alongRow` points where the column number grows, `alongColumn` where the row number grows. */
export interface Plane {
  sopInstanceUid: string;
  imageId: string;
  instanceNumber: number | null;
  position: Point3;
  alongRow: Point3;
  alongColumn: Point3;
  columnSpacing: number;
  rowSpacing: number;
  columns: number;
  rows: number;
  frameOfReferenceUid: string;
}

export const normalOf = (plane: Plane): Point3 => cross(plane.alongRow, plane.alongColumn);

/** LPS mm of the (fractional) pixel. */
export function pixelToLps(plane: Plane, column: number, row: number): Point3 {
  return add(
    plane.position,
    add(scale(plane.alongRow, column * plane.columnSpacing), scale(plane.alongColumn, row * plane.rowSpacing)),
  );
}

/** Fractional pixel below `point`, and how far the point lies off the plane along its normal, mm. */
export function lpsToPixel(plane: Plane, point: Point3): { column: number; row: number; offPlane: number } {
  const d = subtract(point, plane.position);
  return {
    column: dot(d, plane.alongRow) / plane.columnSpacing,
    row: dot(d, plane.alongColumn) / plane.rowSpacing,
    offPlane: dot(d, normalOf(plane)),
  };
}

/** Index of the plane nearest to `point` along the normal; -1 where there is none. */
export function nearestPlane(planes: readonly Plane[], point: Point3): number {
  let best = -1;
  let least = Infinity;
  planes.forEach((plane, index) => {
    const off = Math.abs(lpsToPixel(plane, point).offPlane);
    if (off < least) {
      least = off;
      best = index;
    }
  });
  return best;
}

/** Planes sorted along the first one's normal; those without the same orientation keep their order at the end. */
export function sortPlanes(planes: readonly Plane[]): Plane[] {
  const first = planes[0];
  if (!first) return [];
  const n = normalOf(first);
  const parallel = planes.filter((plane) => Math.abs(dot(normalOf(plane), n)) > 0.999);
  if (parallel.length !== planes.length) return [...planes];
  return parallel.sort((a, b) => dot(a.position, n) - dot(b.position, n));
}

const SAME_PLACE_MM = 0.1;
const EVEN = 0.05;

/**
 * Why the planes, sorted, are no upright stack at even distances; empty where they are. An engine that takes the place
 * of the first and a distance for all the others would show every other image in a wrong place.
 */
export function reasonAgainstStack(planes: readonly Plane[]): string {
  const first = planes[0];
  const last = planes[planes.length - 1];
  if (!first || !last || planes.length < 2) return "";
  const n = normalOf(first);
  const step = dot(subtract(last.position, first.position), n) / (planes.length - 1);
  const most = Math.max(0.5 * Math.min(first.rowSpacing, first.columnSpacing), SAME_PLACE_MM);
  for (const [index, plane] of planes.entries()) {
    const d = subtract(plane.position, first.position);
    const along = dot(d, n);
    if (norm(subtract(d, scale(n, along))) > most) return "the gantry was tilted: the images are shifted against each other";
    if (Math.abs(along - index * step) > Math.max(EVEN * Math.abs(step), 0.02)) return "the images are not evenly spaced";
  }
  return "";
}

/** Letters of the patient's directions a vector points to, strongest first: `A`, `PL`, `H`... */
export function orientationLetters(direction: Point3): string {
  const letters: [number, string][] = [
    [Math.abs(direction[0]), direction[0] > 0 ? "L" : "R"],
    [Math.abs(direction[1]), direction[1] > 0 ? "P" : "A"],
    [Math.abs(direction[2]), direction[2] > 0 ? "H" : "F"],
  ];
  const length = norm(direction) || 1;
  return letters
    .filter(([size]) => size / length > 0.25)
    .sort((a, b) => b[0] - a[0])
    .map(([, letter]) => letter)
    .join("");
}

/** A round length for the scale bar: the longest of 1, 2, 5 x 10^n mm that takes at most `pixels`. */
export function scaleBar(mmPerPixel: number, pixels: number): number {
  const most = mmPerPixel * pixels;
  if (!(most > 0) || !Number.isFinite(most)) return 0;
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].map((step) => step * power).find((length) => length <= most) ?? power;
}
