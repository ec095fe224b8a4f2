import { describe, expect, it } from "vitest";
import { lpsToPixel, nearestPlane, normalOf, orientationLetters, pixelToLps, type Plane, reasonAgainstStack, scaleBar, sortPlanes } from "../src/images/geometry";

const base: Plane = {
  sopInstanceUid: "1", imageId: "1", instanceNumber: 1, position: [10, 20, 30], alongRow: [1, 0, 0],
  alongColumn: [0, 1, 0], columnSpacing: 0.5, rowSpacing: 2, columns: 8, rows: 8, frameOfReferenceUid: "",
};
const at = (z: number): Plane => ({ ...base, position: [10, 20, z], imageId: String(z) });

describe("planes", () => {
  it("goes from pixel to patient and back", () => {
    const point = pixelToLps(base, 4, 3);
    expect(point).toEqual([12, 26, 30]);
    expect(lpsToPixel(base, point)).toEqual({ column: 4, row: 3, offPlane: 0 });
  });
  it("sorts along the normal, prone or supine", () => {
    expect(sortPlanes([at(5), at(1), at(3)]).map((p) => p.imageId)).toEqual(["1", "3", "5"]);
    const prone = [5, 1, 3].map((z) => ({ ...at(z), alongRow: [-1, 0, 0] as [number, number, number] }));
    expect(normalOf(prone[0]!)[2]).toBe(-1);
    expect(sortPlanes(prone).map((p) => p.imageId)).toEqual(["5", "3", "1"]);
  });
  it("finds the nearest", () => {
    expect(nearestPlane([at(1), at(3), at(5)], [0, 0, 3.8])).toBe(1);
    expect(nearestPlane([], [0, 0, 0])).toBe(-1);
  });
});

describe("a stack for planes", () => {
  it("is upright and even", () => {
    expect(reasonAgainstStack([at(0), at(3), at(6.1), at(9)])).toBe("");
    expect(reasonAgainstStack([at(0), at(3), at(9)])).toContain("not evenly spaced");
  });
  it("is not sheared, either way", () => {
    const [c, s] = [Math.cos(0.25), Math.sin(0.25)];
    for (const sign of [1, -1]) {
      const askew = [0, 5, 10].map((z) => ({ ...at(z), alongColumn: [0, c, sign * s] as [number, number, number] }));
      expect(reasonAgainstStack(askew)).toContain("tilted");
    }
  });
});

describe("letters and scale", () => {
  it("names the patient's directions", () => {
    expect(orientationLetters([1, 0, 0])).toBe("L");
    expect(orientationLetters([0, -1, 0])).toBe("A");
    expect(orientationLetters([0, 0, -1])).toBe("F");
    expect(orientationLetters([0.5, 0.86, 0])).toBe("PL");
  });
  it("takes a round length that fits", () => {
    expect(scaleBar(0.7, 100)).toBe(50);
    expect(scaleBar(0.1, 100)).toBe(10);
    expect(scaleBar(0, 100)).toBe(0);
  });
});
