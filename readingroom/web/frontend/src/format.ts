// Words and numbers for people. Pure functions; tested in tests/format.test.ts.

import type { Code, Decision, Measurement, ReaderState, SideValue } from "./api/types";

/** `Simulated^Chest^^Dr` -> `Simulated, Chest, Dr`: family name first, as DICOM writes it; `A^B=山田^太郎` -> `A, B (山田, 太郎)`. */
export function personName(name: string): string {
  const groups = (name ?? "").split("=")
    .map((group) => group.split("^").map((part) => part.trim()).filter(Boolean).join(", "))
    .filter(Boolean);
  const [first, ...others] = [...new Set(groups)];
  return first === undefined ? "(no name)" : [first, ...others.map((group) => `(${group})`)].join(" ");
}

/** DICOM date `20260131` -> `2026-01-31`; anything else is shown as it is. */
export function dicomDate(date: string): string {
  const match = /^(\d{4})(\d{2})(\d{2})$/.exec(date ?? "");
  return match ? `${match[1]}-${match[2]}-${match[3]}` : (date ?? "");
}

/** Age of a study on the list: `40 s`, `12 min`, `3 h 05`, `2 d`. */
export function age(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;
  return `${Math.floor(s / 86_400)} d`;
}

/** A probability in whole per cent, never rounded to a false certainty. */
export function percent(probability: number | null | undefined): string {
  if (probability === null || probability === undefined) return "–";
  if (probability > 0 && probability < 0.005) return "<1%";
  if (probability > 0.995 && probability < 1) return ">99%";
  return `${Math.round(probability * 100)}%`;
}

export function bytes(size: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const UNITS: Record<string, string> = { mm3: "mm³", mm2: "mm²", cm3: "cm³", "[hnsf'U]": "HU", "1": "", "{HU}": "HU" };

export const unitText = (unit: Code): string => UNITS[unit.value] ?? unit.value;

export function measurementText(measurement: Measurement): string {
  const unit = unitText(measurement.unit);
  const digits = Math.abs(measurement.value) >= 100 ? 0 : 1;
  return `${measurement.value.toFixed(digits)}${unit ? ` ${unit}` : ""}`;
}

export const READER_STATE_WORDS: Record<ReaderState, string> = {
  "not-applicable": "not applicable",
  queued: "queued",
  reading: "reading",
  "read-nothing-found": "read - nothing found",
  found: "found",
  abstained: "abstained",
  failed: "failed",
  partial: "partial",
  superseded: "superseded",
};

/** A sign beside each word, so that a state is told by more than its colour. */
export const READER_STATE_SIGNS: Record<ReaderState, string> = {
  "not-applicable": "–",
  queued: "…",
  reading: "▸",
  "read-nothing-found": "○",
  found: "●",
  abstained: "?",
  failed: "✕",
  partial: "◐",
  superseded: "↺",
};

export function readerStateText(state: ReaderState, progress: number | null | undefined): string {
  const words = READER_STATE_WORDS[state] ?? state;
  return state === "reading" && typeof progress === "number" ? `${words} ${Math.round(progress * 100)}%` : words;
}

export const DECISION_WORDS: Record<Decision, string> = {
  undecided: "to decide",
  accepted: "accepted",
  edited: "accepted, edited",
  rejected: "rejected",
  added: "added by a person",
};

/** `seg-2` -> `SEG 2`, `pdf-addendum-1` -> `PDF, addendum 1`. */
export function roleText(role: string): string {
  const match = /^([a-z]+)(?:-(\d+))?(?:-addendum-(\d+))?$/.exec(role);
  if (!match) return role;
  const [, kind = "", number, addendum] = match;
  return `${kind.toUpperCase()}${number ? ` ${number}` : ""}${addendum ? `, addendum ${addendum}` : ""}`;
}

export const EVIDENCE_LEVELS: Record<number, { name: string; meaning: string }> = {
  0: { name: "simulated or none", meaning: "Level 0: shown on simulated data only, or not measured at all." },
  1: { name: "internal", meaning: "Level 1: measured on data from the same sources it was made with." },
  2: { name: "external", meaning: "Level 2: measured on data from places it was not made with." },
  3: { name: "prospective", meaning: "Level 3: measured prospectively in clinical work." },
};

export function sideText(side: SideValue | undefined): string {
  return side ?? "side unknown";
}

/** Local time of an ISO instant, to the minute. */
export function localTime(iso: string | null | undefined): string {
  if (!iso) return "";
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** The same to the second, for what is asked about one day. */
export function localSeconds(iso: string | null | undefined): string {
  const minutes = localTime(iso);
  return iso && minutes !== iso ? `${minutes}:${String(new Date(iso).getSeconds()).padStart(2, "0")}` : minutes;
}

/** The instant a local day (`2026-01-31`) begins, or one so many days later; null for no day. */
export function dayStart(day: string, later: number): string | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day);
  if (!match) return null;
  return new Date(Number(match[1]), Number(match[2]) - 1, Number(match[3]) + later).toISOString();
}

/** What a browser calls itself, in two words: `Firefox, Linux`. */
export function browserName(agent: string): string {
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(agent)?.[1] ?? "";
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1] ?? "";
  const names: Record<string, string> = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS" };
  return [browser, system].filter(Boolean).map((word) => names[word] ?? word).join(", ") || agent.slice(0, 40) || "Unknown";
}

export function duration(seconds: number): string {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
