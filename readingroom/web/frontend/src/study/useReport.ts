// The report beside the images: loaded, saved as it is written, drafted anew after verdicts. All changes go through one
// queue, so that each carries the etag the one before it was answered with.

import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError, api } from "../api/client";
import { type Report, type Section, SECTIONS } from "../api/types";
import { usePolling } from "../hooks";

const SAVE_AFTER_MS = 800;
const POLL_MS = 3000;

export type Saving = "saved" | "unsaved" | "saving" | "failed" | "conflict";
type Sections = Record<Section, string>;

export interface ReportState {
  report: Report | null;
  sections: Sections | null;
  saving: Saving;
  error: unknown;
  /** It is being saved or drafted anew: what is shown is about to change. */
  changing: boolean;
  write: (section: Section, text: string) => void;
  saveNow: () => Promise<Report | null>;
  redraft: () => Promise<void>;
  takeTheirs: () => Promise<void>;
  keepMine: () => Promise<void>;
  show: (report: Report) => void;
}

export function useReport(studyId: string, madeFrom: string, mayWrite: boolean): ReportState {
  const [report, setReport] = useState<Report | null>(null);
  const [sections, setSections] = useState<Sections | null>(null);
  const [saving, setSaving] = useState<Saving>("saved");
  const [error, setError] = useState<unknown>(null);
  const [waiting, setWaiting] = useState(0);
  const [settledFrom, setSettledFrom] = useState<string | null>(null);
  const queue = useRef<Promise<unknown>>(Promise.resolve());
  const etag = useRef("");
  // Only the sections that were written: what nobody touched stays the server's, outdated where it is.
  const edited = useRef<Partial<Sections> | null>(null);
  const timer = useRef(0);

  const show = useCallback((answer: Report) => {
    etag.current = answer.etag;
    setReport(answer);
    setSections({ ...answer.sections, ...edited.current });
    setError(null);
  }, []);

  const enqueue = useCallback(<T,>(work: () => Promise<T>): Promise<T> => {
    setWaiting((count) => count + 1);
    const next = queue.current.then(work, work).finally(() => setWaiting((count) => count - 1));
    queue.current = next.catch(() => undefined);
    return next;
  }, []);

  const failed = useCallback((problem: unknown) => {
    setError(problem);
    setSaving(problem instanceof ApiError && problem.status === 409 ? "conflict" : "failed");
  }, []);

  const save = useCallback(
    () =>
      enqueue(async () => {
        const sent = edited.current;
        if (!sent) return null;
        setSaving("saving");
        const answer = await api.saveReport(studyId, etag.current, sent);
        // What was typed while the answer was on its way is still to be saved.
        if (edited.current === sent) edited.current = null;
        setSaving(edited.current ? "unsaved" : "saved");
        show(answer);
        return answer;
      }),
    [enqueue, show, studyId],
  );

  const write = useCallback((section: Section, text: string) => {
    edited.current = { ...edited.current, [section]: text };
    setSections((old) => old && { ...old, [section]: text });
    setSaving((old) => (old === "conflict" ? old : "unsaved"));
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => void save().catch(failed), SAVE_AFTER_MS);
  }, [save, failed]);

  const load = useCallback(() => enqueue(() => api.report(studyId)).then(show), [enqueue, show, studyId]);

  const redraft = useCallback(async () => {
    window.clearTimeout(timer.current);
    try {
      await save();
      show(await enqueue(() => api.redraft(studyId)));
      setSaving("saved");
    } catch (problem) {
      failed(problem);
    }
  }, [enqueue, failed, save, show, studyId]);

  // Each change of what it is made from drafts the report anew; text a person edited is kept by the server.
  const drafted = useRef<string | null>(null);
  useEffect(() => {
    const first = drafted.current === null;
    drafted.current = madeFrom;
    const settled = first || !mayWrite ? load().catch(setError) : redraft();
    void settled.then(() => setSettledFrom(madeFrom));
  }, [madeFrom, mayWrite, load, redraft]);

  const delivering = report !== null
    && (report.state === "final"
      || report.addenda.some((addendum) => !isWritten(report, addendum.number))
      || report.deliveries.some((delivery) => ["waiting", "held"].includes(delivery.state)));
  usePolling(async () => {
    if (delivering) await load().catch(setError);
  }, POLL_MS, [delivering]);

  const saveNow = useCallback(async () => {
    window.clearTimeout(timer.current);
    try {
      return await save();
    } catch (problem) {
      failed(problem);
      throw problem;
    }
  }, [save, failed]);

  const takeTheirs = useCallback(async () => {
    edited.current = null;
    setSaving("saved");
    await load().catch(setError);
  }, [load]);

  const keepMine = useCallback(async () => {
    try {
      etag.current = (await enqueue(() => api.report(studyId))).etag;
      await save();
    } catch (problem) {
      failed(problem);
    }
  }, [enqueue, failed, save, studyId]);

  // Leaving the page with unsaved text saves it first.
  useEffect(() => () => {
    window.clearTimeout(timer.current);
    if (edited.current) void save().catch(() => undefined);
  }, [save]);

  const changing = waiting > 0 || settledFrom !== madeFrom;
  return { report, sections, saving, error, changing, write, saveNow, redraft, takeTheirs, keepMine, show };
}

/** Whether the objects with this addendum are stored. */
export const isWritten = (report: Report, addendum: number): boolean => `sr-addendum-${addendum}` in report.objects;

export const sectionName = (section: Section): string => section.charAt(0).toUpperCase() + section.slice(1);
export { SECTIONS };
