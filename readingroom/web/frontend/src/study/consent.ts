// Words about consent, and which day is meant. Pure functions; tested in tests/consent.test.ts.

import type { ConsentKind, LegalBasis, Purpose } from "../api/types";

export const PURPOSE_WORDS: Record<Purpose, { title: string; meaning: string }> = {
  care: { title: "Care", meaning: "The patient's own diagnosis and treatment, reading by AI included" },
  research: { title: "Research", meaning: "Studies that look at many patients" },
  training: { title: "Training of models", meaning: "AI learns from the images and what was found in them" },
  teaching: { title: "Teaching", meaning: "People learn from the images" },
};

export const KIND_WORDS: Record<ConsentKind, string> = {
  given: "allowed",
  refused: "refused",
  withdrawn: "withdrawn",
  expired: "expired",
};

export const SOURCE_WORDS: Record<string, string> = { hand: "by hand", fhir: "other system", clock: "its period ended" };

/** The last day that counts, of a period that ends at this moment (the first one after it). */
export function lastDay(endsAt: string): string {
  const last = new Date(new Date(endsAt).getTime() - 1);
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${last.getFullYear()}-${two(last.getMonth() + 1)}-${two(last.getDate())}`;
}

/** The bases that a patient's yes to this purpose may rest on; their own consent first. */
export function basesFor(bases: readonly LegalBasis[], purpose: Purpose): LegalBasis[] {
  return bases
    .filter((basis) => basis.purposes.includes(purpose))
    .sort((one, other) => Number(other.code === "consent") - Number(one.code === "consent"));
}
