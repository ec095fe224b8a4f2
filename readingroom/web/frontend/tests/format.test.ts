import { describe, expect, it } from "vitest";
import {
  age, bytes, dayStart, dicomDate, localSeconds, measurementText, percent, personName, readerStateText, roleText,
} from "../src/format";
import { auditPath, auditStudyOf, studyOf } from "../src/router";

describe("words and numbers", () => {
  it("names people", () => {
    expect(personName("Simulated^Chest")).toBe("Simulated, Chest");
    expect(personName("Yamada^Tarou=山田^太郎=やまだ^たろう")).toBe("Yamada, Tarou (山田, 太郎) (やまだ, たろう)");
    expect(personName("=山田^太郎")).toBe("山田, 太郎");
    expect(personName("")).toBe("(no name)");
  });
  it("writes dates and ages", () => {
    expect(dicomDate("20260131")).toBe("2026-01-31");
    expect(dicomDate("junk")).toBe("junk");
    expect([59, 60, 3700, 200_000].map(age)).toEqual(["59 s", "1 min", "1 h 01", "2 d"]);
  });
  it("never rounds a probability to certainty", () => {
    expect([0, 0.001, 0.5, 0.999, 1, null].map(percent)).toEqual(["0%", "<1%", "50%", ">99%", "100%", "–"]);
  });
  it("writes measures with their unit", () => {
    const code = { value: "x", scheme: "y", meaning: "z" };
    expect(measurementText({ code, value: 1904.4, unit: { ...code, value: "mm3" }, method: "" })).toBe("1904 mm³");
    expect(measurementText({ code, value: 9.25, unit: { ...code, value: "mm" }, method: "" })).toBe("9.3 mm");
  });
  it("writes sizes", () => {
    expect([12, 1500, 250_000_000].map(bytes)).toEqual(["12 B", "1.5 KB", "250 MB"]);
  });
  it("names what is delivered", () => {
    expect(["sr", "seg-2", "pdf-addendum-12", "?"].map(roleText)).toEqual(["SR", "SEG 2", "PDF, addendum 12", "?"]);
  });
  it("tells progress only while reading", () => {
    expect(readerStateText("reading", 0.42)).toBe("reading 42%");
    expect(readerStateText("read-nothing-found", 1)).toBe("read - nothing found");
  });
});

describe("moments of the audit", () => {
  it("tells them to the second, and days by their local beginning", () => {
    expect(localSeconds("2026-11-25T03:04:05Z")).toMatch(/^2026-11-2[456] \d\d:\d\d:05$/);
    expect([localSeconds(null), localSeconds("junk")]).toEqual(["", "junk"]);
    const begin = dayStart("2026-01-31", 0);
    const end = dayStart("2026-01-31", 1);
    expect(new Date(end ?? 0).getTime() - new Date(begin ?? 0).getTime()).toBe(86_400_000);
    expect(new Date(begin ?? 0).getHours()).toBe(0);
    expect(dayStart("", 0)).toBeNull();
  });
});

describe("addresses of the audit", () => {
  it("hold a study's id only", () => {
    expect(auditStudyOf(auditPath("abc"))).toBe("abc");
    expect(auditStudyOf("/audit")).toBeNull();
    expect(studyOf(auditPath("abc"))).toBeNull();
  });
});
