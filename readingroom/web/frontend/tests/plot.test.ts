import { describe, expect, it } from "vitest";
import type { DriftPoint, DriftStream } from "../src/api/drift";
import { HEIGHT, plot, WIDTH } from "../src/drift/plot";
import { baselineText, chartText, limitsText, numberText, waitingText } from "../src/drift/words";

const point = (number: number, changes: Partial<DriftPoint> = {}): DriftPoint => ({
  number, from_at: "2026-01-05T08:00:00Z", until_at: "2026-01-06T08:00:00Z", n: 20, value: 20, statistic: 20, centre: 20,
  lower: 18, upper: 22, out: false, ...changes,
});

const stream = (points: DriftPoint[], changes: Partial<DriftStream> = {}): DriftStream => ({
  measure: "input.noise_hu", title: "Input: noise, mean", unit: "HU", about: "", chart: "ewma", source: "", state: "in-control",
  alarm_since: null, last_at: null, waiting: 3, needed: 20, newest: points.at(-1) ?? null, points,
  baseline: { n: 100, mean: 20.123, sd: 3, from_at: "2026-01-01T08:00:00Z", until_at: "2026-01-04T08:00:00Z" }, ...changes,
});

describe("plot", () => {
  it("keeps everything inside, higher values higher up, later points further right", () => {
    const drawn = plot(stream([point(1), point(2, { value: 40, statistic: 24, out: true })]));
    for (const { x, y } of [...drawn.dots, ...drawn.alone]) {
      expect(x).toBeGreaterThan(0);
      expect(x).toBeLessThan(WIDTH);
      expect(y).toBeGreaterThan(0);
      expect(y).toBeLessThan(HEIGHT);
    }
    const [first, second] = drawn.dots;
    expect(second!.x).toBeGreaterThan(first!.x);
    expect(second!.y).toBeLessThan(first!.y);
    expect(drawn.upper).toMatch(/^M54\.0,/);
  });
  it("draws no limit where there is none, and no ring where the statistic is of the point alone", () => {
    const drawn = plot(stream([point(1, { lower: null })], { chart: "p" }));
    expect(drawn.lower).toBe("");
    expect(drawn.upper).not.toBe("");
    expect(drawn.alone).toEqual([]);
  });
  it("draws equal values without dividing by nothing", () => {
    const drawn = plot(stream([point(1, { statistic: 0, value: 0, centre: 0, lower: 0, upper: 0 })]));
    expect(drawn.dots[0]!.y).toBeGreaterThan(0);
    expect(drawn.dots[0]!.y).toBeLessThan(HEIGHT);
  });
  it("writes no number over another", () => {
    expect(plot(stream([point(1)])).marks.map((mark) => mark.text)).toEqual(["22", "18", "20"]);
    expect(plot(stream([point(1, { centre: 18.01 })])).marks.map((mark) => mark.text)).toEqual(["22", "18"]);
  });
});

describe("words", () => {
  it("says limits, baseline and what is waited for", () => {
    expect(limitsText(point(1))).toBe("18 to 22");
    expect(limitsText(point(1, { lower: null }))).toBe("at most 22");
    expect(limitsText(point(1, { upper: null }))).toBe("at least 18");
    expect(baselineText(stream([]))).toBe("100 readings, 2026-01-01 to 2026-01-04: mean 20.1 HU, SD 3 HU");
    expect(waitingText(stream([]))).toBe("3 of 20 readings for a point");
    expect(waitingText(stream([], { baseline: null, needed: 100 }))).toBe("3 of 100 readings for the baseline");
  });
  it("gives a distance of distributions no unit", () => {
    expect(numberText(stream([]), 20.5)).toBe("20.5 HU");
    expect(numberText(stream([], { chart: "ks" }), 0.5)).toBe("0.5");
  });
  it("tells a chart to who does not see it", () => {
    expect(chartText(stream([point(1), point(2, { statistic: 24, out: true })])))
      .toBe("Input: noise, mean: 2 points, 1 out of limits. Newest 24 HU, limits 18 to 22.");
  });
});
