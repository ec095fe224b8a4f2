import { describe, expect, it } from "vitest";
import { fitting, home, rolesIn } from "../src/admin/memberships";
import type { Projects } from "../src/api/access";

const projects: Projects = {
  items: [
    { name: "care", title: "", kind: "care", members: 1, studies: 1 },
    { name: "trial", title: "", kind: "research", members: 0, studies: 0 },
  ],
  kinds: {
    care: ["radiologist", "resident", "technologist", "service"],
    research: ["radiologist", "resident", "technologist", "researcher", "service"],
  },
};

describe("memberships", () => {
  it("offers an account's own role first, and the others that count", () => {
    expect(rolesIn("care", "radiologist", projects)).toEqual(["radiologist", "resident", "technologist"]);
    expect(rolesIn("trial", "researcher", projects)).toEqual(["researcher", "radiologist", "resident", "technologist"]);
    expect(rolesIn("trial", "service", projects)).toEqual(["service"]);
  });
  it("offers nothing where the role does not count, or there is no such project", () => {
    expect(rolesIn("care", "researcher", projects)).toEqual([]);
    expect(rolesIn("trial", "administrator", projects)).toEqual([]);
    expect(rolesIn("nowhere", "radiologist", projects)).toEqual([]);
  });
  it("leaves out what no longer counts", () => {
    const where = { care: "radiologist", trial: "researcher" };
    expect(fitting(where, "researcher", projects)).toEqual({ trial: "researcher" });
    expect(fitting(where, "resident", projects)).toEqual(where);
  });
  it("begins in care for the people of the house", () => {
    expect(home("resident", projects)).toEqual({ care: "resident" });
    for (const role of ["researcher", "service", "administrator"]) expect(home(role, projects)).toEqual({});
  });
});
