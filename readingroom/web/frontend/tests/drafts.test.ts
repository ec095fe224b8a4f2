import { describe, expect, it } from "vitest";
import { code, REASON_KEYS, REJECT_REASONS, reasonOfKey } from "../src/study/codes";
import { axisOf, measure, moveTo, newFinding, positionOf, pullEnd, resize, withSide } from "../src/study/drafts";

const made = newFinding(
  { point: [10, 20, 30], alongRow: [1, 0, 0], alongColumn: [0, 1, 0], frameOfReferenceUid: "1.2", seriesInstanceUid: "1.3" },
  { code: code("nodule"), site: code("lung") },
  8,
);
const longAxis = (finding: typeof made): number[] => axisOf(finding, "long")!.start_lps_mm;

describe("a finding of one's own", () => {
  it("has axes through its middle and no probability", () => {
    expect(longAxis(made)).toEqual([6, 20, 30]);
    expect(made.probability).toBeNull();
    expect(made.measurements.map((m) => m.value)).toEqual([8, 8]);
    expect(made.id).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe("editing", () => {
  it("moves the axes with the place and lets go of the segment", () => {
    const moved = moveTo({ ...made, segment: "n1" }, [11, 22, 33]);
    expect(positionOf(moved)).toEqual([11, 22, 33]);
    expect(longAxis(moved)).toEqual([7, 22, 33]);
    expect(moved.segment).toBe("");
  });
  it("resizes about the middle and keeps the measure in step", () => {
    const wide = resize(made, "long", 12);
    expect(longAxis(wide)).toEqual([4, 20, 30]);
    expect(wide.measurements[0]!.value).toBe(12);
    expect(wide.measurements[1]!.value).toBe(8);
    expect(resize(made, "long", -1)).toBe(made);
  });
  it("pulls one end", () => {
    const pulled = pullEnd(made, "long", "end", [16, 20, 30]);
    expect(longAxis(pulled)).toEqual([6, 20, 30]);
    expect(pulled.measurements[0]!.value).toBe(10);
  });
  it("lets an axis follow a typed length, exactly as typed", () => {
    const typed = measure(made, 1, 5.25);
    expect(typed.measurements[1]!.value).toBe(5.25);
    expect(axisOf(typed, "short")!.start_lps_mm).toEqual([10, 20 - 2.625, 30]);
    expect(measure(made, 0, Number.NaN)).toBe(made);
  });
  it("takes a person's side", () => {
    expect(withSide(made, "left").side).toEqual({ value: "left", witnesses: [], agree: true });
    expect(withSide(made, null).side).toBeNull();
  });
});

describe("reasons", () => {
  it("each have a key of their own", () => {
    const keys = REJECT_REASONS.map((_reason, n) => REASON_KEYS[n]);
    expect(new Set(keys).size).toBe(REJECT_REASONS.length);
    expect(keys.map((key) => reasonOfKey(key!))).toEqual(REJECT_REASONS);
    expect(["j", "k", "Enter", "", "12"].map(reasonOfKey)).toEqual(Array(5).fill(undefined));
  });
});
