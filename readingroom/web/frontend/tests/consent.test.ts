import { describe, expect, it } from "vitest";
import type { LegalBasis } from "../src/api/types";
import { basesFor, lastDay } from "../src/study/consent";

const basis = (code: string, ...purposes: LegalBasis["purposes"]): LegalBasis =>
  ({ code, title: code, text: "", source: "", purposes, default: false, needs_reference: true });

describe("consent", () => {
  it("names the last day that counts", () => {
    const midnight = new Date(2027, 1, 1, 0, 0, 0);
    expect(lastDay(midnight.toISOString())).toBe("2027-01-31");
    expect(lastDay(new Date(2027, 1, 1, 10, 30).toISOString())).toBe("2027-02-01");
  });
  it("offers the bases of the purpose, the patient's consent first", () => {
    const bases = [basis("treatment", "care"), basis("ethics-waiver", "research"), basis("consent", "care", "research")];
    expect(basesFor(bases, "research").map((one) => one.code)).toEqual(["consent", "ethics-waiver"]);
    expect(basesFor(bases, "teaching")).toEqual([]);
  });
});
