import { expect, test } from "vitest";
import { at, path, spread, ticks } from "../src/runs/chart";

test("ticks are round and cover the range", () => {
  expect(ticks(0.13, 0.92)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(ticks(0, 480, 6)).toEqual([0, 100, 200, 300, 400, 500]);
  expect(ticks(-3, 7)).toEqual([-4, -2, 0, 2, 4, 6, 8]);
  for (const [low, high] of [[0, 0], [2, 2], [1e-9, 3e-9], [-5e8, 5e8]] as const) {
    const found = ticks(low, high);
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThan(12);
    expect(found[0]).toBeLessThanOrEqual(low);
    expect(found.at(-1)).toBeGreaterThanOrEqual(high);
  }
});

test("a line goes through its points", () => {
  const x = { low: 0, high: 10, from: 0, to: 100 };
  const y = { low: 0, high: 1, from: 50, to: 0 };
  expect(at(y, 0.5)).toBe(25);
  expect(path([0, 10], [0, 1], x, y)).toBe("M0.0 50.0L100.0 0.0");
});

test("labels keep their order and apart", () => {
  expect(spread([10, 100], 15, 200)).toEqual([10, 100]);
  expect(spread([50, 52, 48], 15, 200)).toEqual([63, 78, 48]);
  expect(spread([199, 198], 15, 200)).toEqual([200, 185]);
  expect(spread([], 15, 200)).toEqual([]);
});
