// Norms: FreeSurfer's measures of one person against those of healthy people.

import { json } from "./client";
import type { Finding } from "./types";

export type Kind = "volume" | "thickness" | "asymmetry";

export interface Region {
  /** FreeSurfer's name; both sides together where it has no side. */
  name: string;
  words: string;
  kind: Kind;
  value: number;
  unit: string;
  z: number;
  /** 95 % interval of z, for the number of controls. */
  low: number;
  high: number;
  percentile: number;
  larger_is_worse: boolean;
}

export interface Norm {
  kind: Kind;
  source: string;
  controls: number;
  ages: [number, number];
}

export interface Answer {
  regions: Region[];
  probability: number | null;
  prevalence: number;
  contributions: Finding["evidence"]["contributions"];
  notes: string[];
  norms: Norm[];
  head_size_ml: number | null;
}

export interface Curve {
  name: string;
  words: string;
  unit: string;
  ages: number[];
  percentiles: Record<string, number[]>;
  source: string;
  controls: number;
}

export interface Person {
  age_years: number;
  sex: "F" | "M";
}

/** What a study's own measures say, and of whom. */
export interface StudyAnswer {
  person: { age_years: number | null; sex: "F" | "M" | "O" | null };
  answer: Answer;
}

export const norms = {
  assess: (question: Person & { tables: string[]; prevalence: number | null }) => json<Answer>("POST", "/norms", question),
  ofStudy: (id: string) => json<StudyAnswer>("GET", `/studies/${encodeURIComponent(id)}/norms`),
  curve: (name: string, sex: "F" | "M", headMl: number | null) =>
    json<Curve>("GET", `/norms/curves/${encodeURIComponent(name)}?${new URLSearchParams({ sex, ...(headMl ? { head_ml: String(headMl) } : {}) })}`),
};
