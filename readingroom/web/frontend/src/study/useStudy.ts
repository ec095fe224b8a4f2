// The study under review: loaded, asked for anew while readers work, and changed by verdicts.

import { useCallback, useRef, useState } from "react";
import { ApiError, api } from "../api/client";
import type { Study, Verdict } from "../api/types";
import { usePolling } from "../hooks";

const BUSY_POLL_MS = 2000;
const QUIET_POLL_MS = 6000;

export interface StudyState {
  study: Study | null;
  /** Why the study could not be loaded. */
  error: unknown;
  /** Why the last change was not taken. */
  refused: unknown;
  busy: boolean;
  decide: (verdict: Omit<Verdict, "revision">) => Promise<boolean>;
  act: (work: () => Promise<unknown>) => Promise<boolean>;
  reload: () => Promise<void>;
  dismiss: () => void;
}

export function useStudy(studyId: string): StudyState {
  const [study, setStudy] = useState<Study | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [refused, setRefused] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const shown = useRef("");
  const changes = useRef(0);

  const show = useCallback((answer: Study) => {
    // The age changes with every answer and is not shown here; an unchanged study must not draw the page again.
    const text = JSON.stringify({ ...answer, age_seconds: 0 });
    if (text !== shown.current) setStudy(answer);
    shown.current = text;
    setError(null);
  }, []);

  const reload = useCallback(async () => {
    const before = changes.current;
    try {
      const answer = await api.study(studyId);
      // An answer asked for before a verdict was taken is older than what is shown.
      if (changes.current === before) show(answer);
    } catch (problem) {
      setError(problem);
      // The glass has closed, or somebody was taken out of the project: what is shown must not stay.
      if (problem instanceof ApiError && problem.status === 404) {
        shown.current = "";
        setStudy(null);
      }
    }
  }, [studyId, show]);

  const active = study?.readings.some((reading) => ["queued", "reading"].includes(reading.state)) ?? true;
  usePolling(reload, active || study?.revision === 0 ? BUSY_POLL_MS : QUIET_POLL_MS, [studyId]);

  const act = useCallback(async (work: () => Promise<unknown>) => {
    setBusy(true);
    setRefused(null);
    try {
      await work();
      return true;
    } catch (problem) {
      setRefused(problem);
      if (problem instanceof ApiError && problem.status === 409) void reload();
      return false;
    } finally {
      setBusy(false);
    }
  }, [reload]);

  const decide = useCallback(
    (verdict: Omit<Verdict, "revision">) =>
      act(async () => {
        changes.current += 1;
        const answer = await api.verdict(studyId, { ...verdict, revision: study?.revision ?? 0 });
        changes.current += 1;
        show(answer);
      }),
    [act, show, studyId, study?.revision],
  );

  return { study, error, refused, busy, decide, act, reload, dismiss: () => setRefused(null) };
}
