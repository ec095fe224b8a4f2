import { describe, expect, it } from "vitest";
import { MINIMUM_LENGTH, passwordHint } from "../src/account/passwordHint";

describe("the hint beside a new password", () => {
  it("counts what is missing", () => {
    expect(passwordHint("", "ann").words).toContain(String(MINIMUM_LENGTH));
    expect(passwordHint("kettle", "ann").words).toBe("6 more characters.");
    expect(passwordHint("tinfoil ket", "ann").words).toBe("1 more character.");
  });
  it("warns of what the server refuses", () => {
    expect(passwordHint("ababababababab", "ann").tone).toBe("warn");
    expect(passwordHint("Drmustermann-1", "drmustermann").tone).toBe("warn");
  });
  it("likes long ones", () => {
    expect(passwordHint("tinfoil kettle", "ann")).toEqual({ words: "Long enough. Longer is better.", tone: "muted" });
    expect(passwordHint("tinfoil kettle ostrich", "ann").words).toBe("Good: long.");
  });
});
