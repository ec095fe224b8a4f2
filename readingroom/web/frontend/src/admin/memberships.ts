// Where a role can be a member, and as what. Pure; tested in tests/memberships.test.ts. The server has the last word.

import type { Projects } from "../api/access";

/** The roles an account of `role` can have in a project, its own first: another only narrows. None where its own does not count. */
export function rolesIn(project: string, role: string, projects: Projects): string[] {
  const kind = projects.items.find((one) => one.name === project)?.kind ?? "";
  const counting = projects.kinds[kind] ?? [];
  if (!counting.includes(role)) return [];
  return role === "service" ? [role] : [role, ...counting.filter((one) => one !== role && one !== "service")];
}

/** Where a new account of `role` begins: people of the house in `care`, researchers and machines nowhere. */
export function home(role: string, projects: Projects): Record<string, string> {
  return role !== "service" && rolesIn("care", role, projects).length ? { care: role } : {};
}

/** Those of `where` that count for an account of `role`. */
export function fitting(where: Record<string, string>, role: string, projects: Projects): Record<string, string> {
  return Object.fromEntries(Object.entries(where).filter(([project]) => rolesIn(project, role, projects).length > 0));
}
