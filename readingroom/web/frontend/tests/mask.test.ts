import { describe, expect, it } from "vitest";
import type { Point3 } from "../src/api/types";
import type { Plane } from "../src/images/geometry";
import { cut, cutByPlane, decodeRuns, gridOf, heatMapOf, maskOf, outlines, outlinesOnPlane } from "../src/images/mask";

const plane = (sop: string, z: number): Plane => ({
  sopInstanceUid: sop, imageId: sop, instanceNumber: 1, position: [-100, -50, z], alongRow: [1, 0, 0],
  alongColumn: [0, 1, 0], columnSpacing: 0.5, rowSpacing: 2, columns: 64, rows: 64, frameOfReferenceUid: "1.2",
});

const area = (loop: [number, number][]): number =>
  Math.abs(loop.reduce((sum, [x, y], n) => {
    const [x2, y2] = loop[(n + 1) % loop.length] as [number, number];
    return sum + (x * y2 - x2 * y) / 2;
  }, 0));

describe("runs", () => {
  it("fills start and length pairs", () => {
    expect([...decodeRuns([1, 2, 5, 1], 6)]).toEqual([0, 1, 1, 0, 0, 1]);
  });
  it("refuses a run that leaves the box", () => {
    expect(() => decodeRuns([4, 3], 6)).toThrow(RangeError);
  });
});

describe("outlines", () => {
  it("goes once round a rectangle, half a pixel outside the centres", () => {
    const loops = outlines({ width: 3, height: 2, data: Uint8Array.from([1, 1, 1, 1, 1, 1]) });
    expect(loops).toHaveLength(1);
    expect(loops[0]).toHaveLength(4);
    expect(area(loops[0]!)).toBe(6);
    expect(Math.min(...loops[0]!.map(([x]) => x))).toBe(-0.5);
  });
  it("gives a hole an outline of its own", () => {
    const loops = outlines({ width: 3, height: 3, data: Uint8Array.from([1, 1, 1, 1, 0, 1, 1, 1, 1]) });
    expect(loops.map(area).sort((a, b) => a - b)).toEqual([1, 9]);
  });
  it("closes every loop where pixels touch at a corner", () => {
    const loops = outlines({ width: 2, height: 2, data: Uint8Array.from([1, 0, 0, 1]) });
    expect(loops.map(area).reduce((a, b) => a + b)).toBe(2);
  });
  it("is empty for an empty cut", () => {
    expect(outlines({ width: 2, height: 2, data: new Uint8Array(4) })).toEqual([]);
  });
});

describe("cuts in the patient", () => {
  // Two slices of two rows and three columns; only the second slice's last column is set.
  const mask = maskOf({
    series_instance_uid: "1", offset: [4, 10, 20], shape: [2, 2, 3], sop_instance_uids: ["a", "b"], runs: [8, 1, 11, 1],
  });
  const planes = new Map([["a", plane("a", 30)], ["b", plane("b", 33)]]);

  it("cuts along each axis", () => {
    expect([...cut(mask, 0, 0).data]).toEqual([0, 0, 0, 0, 0, 0]);
    expect([...cut(mask, 0, 1).data]).toEqual([0, 0, 1, 0, 0, 1]);
    expect([...cut(mask, 2, 2).data]).toEqual([0, 0, 1, 1]);
  });
  it("puts the axial outline where the pixels are", () => {
    const grid = gridOf(mask, planes)!;
    const [loop] = outlinesOnPlane(mask, grid, [0, 0, 1], [0, 0, 33]) as [Point3[]];
    const xs = loop.map((p) => p[0]);
    const ys = loop.map((p) => p[1]);
    expect([Math.min(...xs), Math.max(...xs)]).toEqual([-100 + 22 * 0.5 - 0.25, -100 + 22 * 0.5 + 0.25]);
    expect([Math.min(...ys), Math.max(...ys)]).toEqual([-50 + 10 * 2 - 1, -50 + 11 * 2 + 1]);
    expect(new Set(loop.map((p) => p[2]))).toEqual(new Set([33]));
    expect(outlinesOnPlane(mask, grid, [0, 0, 1], [0, 0, 30])).toEqual([]);
    expect(outlinesOnPlane(mask, grid, [0, 0, 1], [0, 0, 99])).toEqual([]);
  });
  it("cuts sagittally", () => {
    const grid = gridOf(mask, planes)!;
    const [loop] = outlinesOnPlane(mask, grid, [1, 0, 0], [-100 + 22 * 0.5, 0, 0]) as [Point3[]];
    const zs = loop.map((p) => p[2]);
    expect([Math.min(...zs), Math.max(...zs)]).toEqual([31.5, 34.5]);
  });
  it("lies on its images where the gantry was tilted", () => {
    // Tilted by 6 degrees, the table moving along z: 120 rows down, a millimetre off the plane is eleven rows of it.
    const [c, s] = [Math.cos(Math.PI / 30), Math.sin(Math.PI / 30)];
    const tilted = (sop: string, z: number): Plane => ({ ...plane(sop, z), alongColumn: [0, c, s] });
    const deep = maskOf({
      series_instance_uid: "1", offset: [0, 60, 0], shape: [3, 60, 1], sop_instance_uids: ["a", "b", "c"], runs: [119, 1],
    });
    const grid = gridOf(deep, new Map([["a", tilted("a", 0)], ["b", tilted("b", 3)], ["c", tilted("c", 6)]]))!;
    const normal: Point3 = [0, -s, c];
    for (const [z, drawn] of [[0, 0], [3, 1], [6, 0]] as const) {
      // The pane's middle lies far from the box, in the image's plane.
      const middle: Point3 = [-100, -50 + 10 * c, z + 10 * s];
      expect(outlinesOnPlane(deep, grid, normal, middle)).toHaveLength(drawn);
    }
    const [loop] = outlinesOnPlane(deep, grid, normal, [-100, -50, 3]) as [Point3[]];
    const rows = loop.map((p) => ((p[1] + 50) * c + (p[2] - 3) * s) / 2);
    expect(Math.min(...rows)).toBeCloseTo(118.5);
    expect(Math.max(...loop.map((p) => Math.abs(-s * (p[1] + 50) + c * (p[2] - 3))))).toBeCloseTo(0);
    // The table's way lies in the sagittal plane: there it is cut as ever.
    expect(cutByPlane(deep, grid, [1, 0, 0], [-100, 0, 0])!.bitmap.height).toBe(3);
  });
  it("draws nothing on a plane askew to the grid", () => {
    expect(outlinesOnPlane(mask, gridOf(mask, planes)!, [0.7, 0, 0.7], [-89, 0, 33])).toEqual([]);
  });
});

describe("a heat map", () => {
  const map = {
    series_instance_uid: "1", offset: [0, 3, 10] as Point3, shape: [2, 1, 3] as Point3, sop_instance_uids: ["a", "b"],
    levels: btoa(String.fromCharCode(0, 128, 255, 1, 2, 3)),
  };
  const planes = new Map([["a", plane("a", 0)], ["b", plane("b", 4)]]);
  it("lies where its images lie, on every plane along them", () => {
    const heat = heatMapOf(map);
    const grid = gridOf(heat, planes)!;
    const axial = cutByPlane(heat, grid, [0, 0, 1], [0, 0, 0.5])!;
    expect([...axial.bitmap.data]).toEqual([0, 128, 255]);
    expect(axial.start).toEqual([-95, -44, 0]);
    expect(axial.across).toEqual([0.5, 0, 0]);
    expect([...cutByPlane(heat, grid, [0, 0, 1], [0, 0, 4])!.bitmap.data]).toEqual([1, 2, 3]);
    const sagittal = cutByPlane(heat, grid, [1, 0, 0], [-94, 0, 0])!;
    expect([...sagittal.bitmap.data]).toEqual([255, 3]);
    expect(cutByPlane(heat, grid, [0, 0, 1], [0, 0, 40])).toBeNull();
  });
  it("is refused where it does not fill its box", () => {
    expect(() => heatMapOf({ ...map, shape: [2, 2, 3] })).toThrow(RangeError);
  });
});
