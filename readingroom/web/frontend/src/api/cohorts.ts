// Calls about cohorts: listed, added, frozen; label sets; the counted look at the locked test part.

import { json } from "./client";

export type PartName = "training" | "validation" | "test";

export interface Estimate {
  value: number;
  low: number | null;
  high: number | null;
  n: number;
  method: string;
}

export interface LabelSet {
  number: number;
  sha256: string;
  created_by: string;
  created_at: string;
  /** Members of which all was judged, of all parts but the test. */
  complete: number;
  /** Part -> decision -> how many; nothing of the test part. */
  counts: Record<string, Record<string, number>>;
}

export interface CohortVersion {
  number: number;
  sha256: string;
  created_by: string;
  created_at: string;
  grouping: "patient" | "declared";
  parts: { part: PartName; members: number; groups: number }[];
  /** Reason -> how many. */
  left_out: Record<string, number>;
  /** Taken out by withdrawals since it was frozen. */
  removed: number;
  intact: boolean;
  label_sets: LabelSet[];
}

export interface Evaluation {
  number: number;
  said: string;
  by: string;
  at: string;
  why: string;
  reader: string;
  reader_version: string;
  weights_sha256: string;
  version: number;
  label_set: number;
  result: {
    rule: string;
    studies: number;
    groups: number;
    lesions: number;
    incomplete: number;
    not_applicable: number;
    missed_whole: number;
    sensitivity: Estimate | null;
    false_marks_per_study: Estimate;
    froc_mean: Estimate | null;
  };
}

export interface CohortLine {
  id: string;
  name: string;
  title: string;
  project: string;
  purpose: string;
  source: "query" | "folder";
  /** The newest; null before it was ever frozen. */
  version: number | null;
  members: number;
  looks: number;
}

export interface Cohort extends CohortLine {
  created_by: string;
  created_at: string;
  definition: Record<string, string | boolean | null>;
  shares: { validation: number; test: number };
  /** Newest first. */
  versions: CohortVersion[];
  evaluations: Evaluation[];
  may_write: boolean;
}

export interface NewCohort {
  name: string;
  title: string;
  project: string;
  purpose: string;
  query: Record<string, string | boolean | null>;
}

const one = (id: string): string => `/cohorts/${encodeURIComponent(id)}`;

export const cohorts = {
  all: () => json<{ items: CohortLine[]; projects: string[] }>("GET", "/cohorts"),
  add: (cohort: NewCohort) => json<Cohort>("POST", "/cohorts", cohort),
  one: (id: string) => json<Cohort>("GET", one(id)),
  freeze: (id: string) => json<Cohort>("POST", `${one(id)}/versions`, {}),
  freezeLabels: (id: string, version: number) => json<Cohort>("POST", `${one(id)}/labels`, { version }),
  evaluate: (id: string, look: { version: number; reader: string; reader_version: string; why: string }) =>
    json<Cohort>("POST", `${one(id)}/evaluations`, look),
  exportUrl: (id: string, version: number) => `/api/v1${one(id)}/export?version=${version}`,
};
