// Segments and heat maps: bytes on a box of a series, cuts through it, and the outline of a cut. Pure; tested in
// tests/mask.test.ts.

import type { HeatMapLevels, Point3, SegmentRuns } from "../api/types";
import { add, cross, dot, norm, normalOf, pixelToLps, type Plane, scale, subtract, unit } from "./geometry";

export interface Mask {
  /** slices, rows, columns of the box. */
  shape: Point3;
  /** index of the box's first voxel in the series: slice, row, column. */
  offset: Point3;
  sops: string[];
  /** C-ordered; of a segment 0 or 1, of a heat map 0 to 255. */
  data: Uint8Array;
}

/** Runs (start, length, ...) over the C-ordered box. Throws where a run leaves the box. */
export function decodeRuns(runs: readonly number[], size: number): Uint8Array {
  const data = new Uint8Array(size);
  for (let n = 0; n + 1 < runs.length; n += 2) {
    const start = runs[n] as number;
    const length = runs[n + 1] as number;
    if (start < 0 || length < 0 || start + length > size) throw new RangeError("A run leaves the segment's box.");
    data.fill(1, start, start + length);
  }
  return data;
}

export function maskOf(segment: SegmentRuns): Mask {
  const [slices, rows, columns] = segment.shape;
  return {
    shape: segment.shape,
    offset: segment.offset,
    sops: segment.sop_instance_uids,
    data: decodeRuns(segment.runs, slices * rows * columns),
  };
}

/** A heat map on the box of its segment. Throws where there are not as many levels as voxels. */
export function heatMapOf(map: HeatMapLevels): Mask {
  const data = Uint8Array.from(atob(map.levels), (letter) => letter.charCodeAt(0));
  if (data.length !== map.shape[0] * map.shape[1] * map.shape[2]) throw new RangeError("The heat map doesn't fill its box.");
  return { shape: map.shape, offset: map.offset, sops: map.sop_instance_uids, data };
}

export interface Bitmap {
  width: number;
  height: number;
  data: Uint8Array;
}

/** The cut at `index` of `axis` (0 slice, 1 row, 2 column); width runs along the last of the other two axes. */
export function cut(mask: Mask, axis: 0 | 1 | 2, index: number): Bitmap {
  const [slices, rows, columns] = mask.shape;
  const at = (k: number, j: number, i: number): number => mask.data[(k * rows + j) * columns + i] ?? 0;
  const [height, width] = axis === 0 ? [rows, columns] : axis === 1 ? [slices, columns] : [slices, rows];
  const data = new Uint8Array(width * height);
  for (let v = 0; v < height; v += 1) {
    for (let u = 0; u < width; u += 1) {
      data[v * width + u] = axis === 0 ? at(index, v, u) : axis === 1 ? at(v, index, u) : at(v, u, index);
    }
  }
  return { width, height, data };
}

type Corner = [number, number];

/**
 * Closed outlines along pixel edges, each a list of corners in pixel coordinates (a pixel reaches half a pixel around
 * its centre). Holes get outlines of their own; neighbours on one line are merged.
 */
export function outlines(bitmap: Bitmap): Corner[][] {
  const { width, height, data } = bitmap;
  const set = (x: number, y: number): boolean => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] === 1;
  const stride = width + 1;
  const next = new Map<number, number[]>();
  const edge = (x0: number, y0: number, x1: number, y1: number): void => {
    const from = y0 * stride + x0;
    const list = next.get(from);
    if (list) list.push(y1 * stride + x1);
    else next.set(from, [y1 * stride + x1]);
  };
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!set(x, y)) continue;
      if (!set(x, y - 1)) edge(x, y, x + 1, y);
      if (!set(x + 1, y)) edge(x + 1, y, x + 1, y + 1);
      if (!set(x, y + 1)) edge(x + 1, y + 1, x, y + 1);
      if (!set(x - 1, y)) edge(x, y + 1, x, y);
    }
  }
  const loops: Corner[][] = [];
  for (const [start, targets] of next) {
    while (targets.length) {
      const loop = [start];
      let here = targets.pop() as number;
      while (here !== start) {
        loop.push(here);
        here = (next.get(here) as number[]).pop() as number;
      }
      loops.push(straighten(loop.map((corner) => [corner % stride, Math.floor(corner / stride)])));
    }
  }
  return loops.map((loop) => loop.map(([x, y]): Corner => [x - 0.5, y - 0.5]));
}

function straighten(loop: Corner[]): Corner[] {
  return loop.filter((corner, n) => {
    const before = loop[(n + loop.length - 1) % loop.length] as Corner;
    const after = loop[(n + 1) % loop.length] as Corner;
    return (corner[0] - before[0]) * (after[1] - corner[1]) !== (corner[1] - before[1]) * (after[0] - corner[0]);
  });
}

/** Where the mask's box lies: LPS of its first voxel and the step of each axis (slice, row, column), mm. */
export interface Grid {
  origin: Point3;
  steps: [Point3, Point3, Point3];
}

/** Grid of the mask by the planes of its source images; null where none of them is known. */
export function gridOf(mask: Mask, planes: ReadonlyMap<string, Plane>): Grid | null {
  const known = mask.sops.map((sop) => planes.get(sop));
  const first = known[0];
  if (!first) return null;
  const [, row, column] = mask.offset;
  const last = known[known.length - 1];
  const spread = known.length - 1;
  const between = spread > 0 && last ? scale(subtract(last.position, first.position), 1 / spread) : normalOf(first);
  return {
    origin: pixelToLps(first, column, row),
    steps: [between, scale(first.alongColumn, first.rowSpacing), scale(first.alongRow, first.columnSpacing)],
  };
}

/** A cut as it lies in the patient: the middle of its first pixel and the steps across and down, LPS mm. */
export interface PlaneCut {
  bitmap: Bitmap;
  start: Point3;
  across: Point3;
  down: Point3;
}

const ALONG = Math.sin((8 * Math.PI) / 180);

/**
 * The cut of the mask by the plane through `point` with `normal`. The plane must lie along two of the mask's axes (within
 * about 8 degrees); elsewhere, and where it misses the box, there is none. The axes need not be perpendicular: where the
 * gantry was tilted the slices' one is askew.
 */
export function cutByPlane(mask: Mask, grid: Grid, normal: Point3, point: Point3): PlaneCut | null {
  const d = subtract(point, grid.origin);
  for (const axis of [0, 1, 2] as const) {
    const step = grid.steps[axis];
    const [down, across] = axis === 0 ? [grid.steps[1], grid.steps[2]] : axis === 1 ? [grid.steps[0], grid.steps[2]] : [grid.steps[0], grid.steps[1]];
    if ([down, across].some((other) => Math.abs(dot(other, normal)) > ALONG * norm(other))) continue;
    const own = unit(cross(down, across));
    const index = Math.round(dot(d, own) / dot(step, own));
    if (index < 0 || index >= mask.shape[axis]) return null;
    return { bitmap: cut(mask, axis, index), start: add(grid.origin, scale(step, index)), across, down };
  }
  return null;
}

/** Outlines, in LPS mm, of the mask where the plane cuts it. */
export function outlinesOnPlane(mask: Mask, grid: Grid, normal: Point3, point: Point3): Point3[][] {
  const found = cutByPlane(mask, grid, normal, point);
  if (!found) return [];
  return outlines(found.bitmap).map((loop) =>
    loop.map(([u, v]) => add(found.start, add(scale(found.across, u), scale(found.down, v)))),
  );
}
