import { expect, it } from "vitest";
import type { DayGroup } from "../src/api/day";
import type { Card } from "../src/api/types";
import { interval, operatingPoints, sentence } from "../src/day/day";

const group = (value: number, low: number | null, high: number | null): DayGroup => ({
  name: "positives", studies: 9, wait_without: { value: 60, low: 50, high: 70 }, wait_with: { value: 60 - value, low: 0, high: 1 },
  saved: { value, low, high }, worst_without: 1, worst_with: 1, percentiles_without: [], percentiles_with: [],
});

it("says who gains, who pays, and where chance alone may be", () => {
  expect(sentence(group(50.38, 43.17, 57.57), "They")).toBe("They wait 50.4 minutes less on average (95% interval 43.2 to 57.6).");
  expect(sentence(group(-4.6, -5.5, -3.7), "They")).toBe("They wait 4.6 minutes longer on average (95% interval 3.7 to 5.5).");
  expect(sentence(group(1, -1, 3), "They")).toContain("within chance");
  expect(sentence(group(1, null, null), "They")).toContain("within chance");
});

it("writes no zero with a minus", () => {
  expect(interval({ value: -0.01, low: -0.04, high: 0.2 })).toBe("0.0 (0.0 to 0.2)");
  expect(interval({ value: 1.25, low: null, high: null })).toBe("1.3");
});

it("finds operating points on a card, however deep they lie", () => {
  const card = {
    title: "Head CT", metrics: {
      sensitivity: 0.9, specificity: { value: 0.8, ci95: [0.7, 0.9], n: 40 },
      locked: { metrics: { sensitivity_fracture: { value: 0.5 }, specificity_fracture: { value: 0.95 }, sensitivity_other: 0.2 }, n: 3 },
      strata: ["sensitivity"],
    },
  } as unknown as Card;
  expect(operatingPoints(card)).toEqual([
    { name: "Head CT", sensitivity: 0.9, specificity: 0.8 },
    { name: "Head CT, locked: fracture", sensitivity: 0.5, specificity: 0.95 },
  ]);
});
