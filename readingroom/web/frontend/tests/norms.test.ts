import { describe, expect, it } from "vitest";
import { drawing, HEIGHT, LATERAL, MEDIAL, type Point, WIDTH } from "../src/norms/brain";
import { withoutNames } from "../src/norms/NormsForm";
import { colour, signed, valueText, worse } from "../src/norms/scale";

const area = (corners: readonly Point[]): number =>
  Math.abs(corners.reduce((sum, [x, y], n) => { const [u, v] = corners[(n + 1) % corners.length] ?? [x, y]; return sum + x * v - u * y; }, 0)) / 2;

describe("the drawn brain", () => {
  it("has every region of the atlas on one of its views", () => {
    expect(new Set([...Object.keys(LATERAL), ...Object.keys(MEDIAL)].filter(Boolean)).size).toBe(34);
  });
  it("is filled by its cells without gap or overlap", () => {
    for (const points of [LATERAL, MEDIAL]) {
      const total = drawing(points).cells.reduce((sum, cell) => sum + area(cell.corners), 0);
      expect(total).toBeCloseTo(WIDTH * HEIGHT, 3);
    }
  });
  it("draws each border between two regions once and none within one", () => {
    const { borders, cells } = drawing({ a: [[100, 100], [100, 200]], b: [[300, 100]] });
    expect(cells).toHaveLength(3);
    const long = borders.reduce((sum, [p, q]) => sum + Math.hypot(p[0] - q[0], p[1] - q[1]), 0);
    expect(long).toBeGreaterThan(250);
    expect(long).toBeLessThan(450);
    expect(drawing({ a: [[100, 100], [300, 100]] }).borders).toHaveLength(0);
  });
});

describe("the scale", () => {
  it("goes to orange in the direction of disease and to blue the other way", () => {
    expect(worse({ kind: "volume", z: -2, larger_is_worse: false })).toBe(2);
    expect(worse({ kind: "volume", z: 2, larger_is_worse: true })).toBe(2);
    expect(worse({ kind: "asymmetry", z: -2, larger_is_worse: false })).toBe(2);
    expect(colour(9)).toBe("rgb(255,150,48)");
    expect(colour(-9)).toBe("rgb(84,160,255)");
    expect(colour(0)).toBe("rgb(52,66,76)");
  });
  it("writes numbers as people do", () => {
    expect(signed(-2.04)).toBe("−2.0");
    expect(valueText(3456, "mm3")).toBe("3.46 ml");
    expect(valueText(2.555, "mm")).toBe("2.56 mm");
  });
});

it("sends no line that may name somebody", () => {
  const text = "# Title Segmentation Statistics\n# subjectname PLANTED\n# SUBJECTS_DIR /home/planted\n# Measure a, b, c, 1, mm\n# AnnotationFile /x/PLANTED/label/lh.aparc.annot\n# ColHeaders A B\n1 2";
  const sent = withoutNames(text);
  expect(sent).not.toMatch(/PLANTED|planted/);
  expect(sent).toContain("# Measure a, b, c, 1, mm");
  expect(sent).toContain("# AnnotationFile lh.aparc.annot");
  expect(sent.endsWith("1 2")).toBe(true);
});
