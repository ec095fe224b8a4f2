import { describe, expect, it } from "vitest";
import { COLOURS } from "../src/images/heat";

describe("viridis", () => {
  it("has 256 colours, each lighter than the one before", () => {
    const light = COLOURS.map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b);
    expect(COLOURS).toHaveLength(256);
    expect(light.every((value, n) => n === 0 || value > (light[n - 1] ?? 0) - 1)).toBe(true);
    expect(COLOURS[0]).toEqual([68, 1, 84]);
    expect(COLOURS[255]).toEqual([253, 231, 37]);
  });
});
