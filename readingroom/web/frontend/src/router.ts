// Addresses of the pages: `/`, `/study/{study_id}`, `/readers`, `/quarantine`, `/system`, `/account`, `/set-up`,
// `/accounts`, `/projects`, `/alerts`, `/cohorts`, `/cohorts/{cohort_id}`, `/models`, `/runs`, `/runs/{run_id}`, `/drift`, `/drift/{watch_id}`,
// `/urgent`, `/simulated-day`, `/norms`, `/norms/study/{study_id}`.

import { useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

export function go(path: string): void {
  window.history.pushState(null, "", path);
  for (const listener of listeners) listener();
}

export function usePath(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname);
}

export function studyOf(path: string): string | null {
  const match = /^\/study\/([^/]+)\/?$/.exec(path);
  return match?.[1] ? decodeURIComponent(match[1]) : null;
}

/** `/audit/study/{study_id}`: who saw the patient of this study. */
export function auditStudyOf(path: string): string | null {
  const match = /^\/audit\/study\/([^/]+)\/?$/.exec(path);
  return match?.[1] ? decodeURIComponent(match[1]) : null;
}

/** `/cohorts/{cohort_id}` */
export function cohortOf(path: string): string | null {
  const match = /^\/cohorts\/([^/]+)\/?$/.exec(path);
  return match?.[1] ? decodeURIComponent(match[1]) : null;
}

export const cohortPath = (id: string): string => `/cohorts/${encodeURIComponent(id)}`;

/** `/drift/{watch_id}`: a reader on a scanner; null for `/drift`, undefined for any other page. */
export function driftOf(path: string): string | null | undefined {
  const match = /^\/drift(?:\/([^/]+))?\/?$/.exec(path);
  return match ? (match[1] ? decodeURIComponent(match[1]) : null) : undefined;
}

export const driftPath = (id: string): string => `/drift/${encodeURIComponent(id)}`;

/** `/norms/study/{study_id}`: the measures that came with a study. */
export function normsStudyOf(path: string): string | null {
  const match = /^\/norms\/study\/([^/]+)\/?$/.exec(path);
  return match?.[1] ? decodeURIComponent(match[1]) : null;
}

export const normsPath = (id: string): string => `/norms/study/${encodeURIComponent(id)}`;

export function runOf(path: string): string | null {
  const match = /^\/runs\/([0-9a-f]+)\/?$/.exec(path);
  return match?.[1] ?? null;
}

export const runPath = (id: string): string => `/runs/${id}`;
export const auditPath = (id: string): string => `/audit/study/${encodeURIComponent(id)}`;
export const studyPath = (id: string): string => `/study/${encodeURIComponent(id)}`;
