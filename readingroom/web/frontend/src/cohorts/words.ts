// Words for cohorts. Pure functions; tested in tests/cohorts.test.ts.

import type { CohortVersion, Estimate, Evaluation } from "../api/cohorts";

export const LEFT_OUT_WORDS: Record<string, string> = {
  "no-images": "no images",
  held: "held",
  restricted: "restricted to named people",
  "no-consent": "the patient does not allow it",
  duplicate: "the same pictures are in it already",
  "other-part": "one person with somebody of another part",
  "no-group": "nobody says whose it is",
};

const QUESTION_WORDS: Record<string, string> = {
  modality: "modality", kind: "type of series", region: "region", body_part: "body part", from_day: "from", to_day: "to",
  found_by: "found something:", basis: "held on the basis", reference: "reference", groups: "groups by", path: "folder",
};

/** `CT · region chest · with a signed report`: what a cohort asks for. */
export function questionText(definition: Record<string, string | boolean | null>): string {
  const parts = Object.entries(definition).flatMap(([name, value]) => {
    if (name === "source" || value === "" || value === null) return [];
    if (name === "signed") return [value ? "with a signed report" : "without a signed report"];
    if (name === "simulated") return [value ? "simulated only" : "no simulated ones"];
    return [`${QUESTION_WORDS[name] ?? name} ${String(value)}`];
  });
  if (definition["source"] === "folder") return ["a folder of the server", ...parts].join(" · ");
  return parts.length ? parts.join(" · ") : "all studies of the project";
}

/** `0.83 (0.61 to 0.96, n = 14)`. */
export function estimateText(estimate: Estimate | null): string {
  if (!estimate) return "–";
  const n = `n = ${estimate.n}`;
  if (estimate.low === null || estimate.high === null) return `${estimate.value.toFixed(2)} (no interval, ${n})`;
  return `${estimate.value.toFixed(2)} (${estimate.low.toFixed(2)} to ${estimate.high.toFixed(2)}, ${n})`;
}

export const membersOf = (version: CohortVersion): number => version.parts.reduce((sum, part) => sum + part.members, 0);

/** What the person who is about to look must know. */
export function nextLook(evaluations: readonly Evaluation[]): string {
  const next = evaluations.length + 1;
  return `This will be evaluation ${next} of this test set. It is kept for ever, with your name and reason.`;
}

export function countsText(counts: Record<string, number>): string {
  return Object.entries(counts).map(([decision, n]) => `${n} ${decision}`).join(", ") || "none";
}
