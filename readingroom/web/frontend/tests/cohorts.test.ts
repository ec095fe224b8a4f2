import { describe, expect, it } from "vitest";
import { countsText, estimateText, nextLook, questionText } from "../src/cohorts/words";

describe("what a cohort asks for", () => {
  it("names what narrows and leaves out the rest", () => {
    const asked = { source: "query", modality: "CT", region: "chest", kind: "", signed: true, simulated: false };
    expect(questionText(asked)).toBe("modality CT · region chest · with a signed report · no simulated ones");
    expect(questionText({ source: "query", modality: "", signed: null })).toBe("all studies of the project");
    expect(questionText({ source: "folder", basis: "ethics-waiver" })).toBe("a folder of the server · held on the basis ethics-waiver");
  });
});

describe("numbers", () => {
  it("never shows a value without what it rests on", () => {
    expect(estimateText({ value: 0.8333, low: 0.61, high: 0.961, n: 14, method: "" })).toBe("0.83 (0.61 to 0.96, n = 14)");
    expect(estimateText({ value: 1, low: null, high: null, n: 1, method: "" })).toBe("1.00 (no interval, n = 1)");
    expect(estimateText(null)).toBe("–");
  });
  it("counts", () => {
    expect(countsText({ accepted: 3, rejected: 1 })).toBe("3 accepted, 1 rejected");
    expect(countsText({})).toBe("none");
    expect(nextLook([])).toContain("evaluation 1 of this test set");
  });
});
