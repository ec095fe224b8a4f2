// Addresses of the pages: `/`, `/study/{study_id}`, `/readers`, `/quarantine`, `/system`, `/account`, `/set-up`,
// `/accounts`, `/projects`, `/alerts`,
// `/audit`, `/audit/study/{study_id}`, `/runs`, `/runs/{run_id}`. They hold opaque ids only.

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

export function runOf(path: string): string | null {
  const match = /^\/runs\/([0-9a-f]+)\/?$/.exec(path);
  return match?.[1] ?? null;
}

export const runPath = (id: string): string => `/runs/${id}`;
export const auditPath = (id: string): string => `/audit/study/${encodeURIComponent(id)}`;
export const studyPath = (id: string): string => `/study/${encodeURIComponent(id)}`;
