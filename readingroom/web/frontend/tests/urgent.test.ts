import { expect, it } from "vitest";
import { sinceReceived } from "../src/urgent/words";

it("counts from the first image", () => {
  expect(sinceReceived("2026-01-01T10:00:00Z", "2026-01-01T10:00:40Z")).toBe("+40 s");
  expect(sinceReceived("2026-01-01T10:00:00Z", "2026-01-01T12:05:00Z")).toBe("+2 h 05");
});
