// What the person is doing with the findings: choosing, rejecting, editing, adding. A small machine, kept apart from
// what is drawn; the page gives it the study and tells it keys and clicks.

import { useEffect, useMemo, useRef, useState } from "react";
import type { Axis, Finding, PatientContext, Point3, Study, StudyFinding } from "../api/types";
import type { LoadedSeries } from "../images/series";
import { add } from "../images/geometry";
import { ADDABLE, REJECT_REASONS } from "./codes";
import { moveTo, newFinding, positionOf, pullEnd } from "./drafts";
import type { StudyState } from "./useStudy";

export type Mode =
  | { kind: "browse" }
  | { kind: "reject"; id: string; waitingForText: string | null }
  | { kind: "edit"; id: string; draft: Finding }
  | { kind: "place"; type: number; millimetres: number }
  | { kind: "add"; draft: Finding };

const BROWSE: Mode = { kind: "browse" };
const USUAL_SIZE_MM = 6;

export function useReview(state: StudyState) {
  const { study, decide } = state;
  const [chosen, setChosen] = useState<string | null>(null);
  const [mode, setMode] = useState<Mode>(BROWSE);
  const [focus, setFocus] = useState<{ point: Point3; asked: number } | null>(null);
  const shownAt = useRef(new Map<string, string>());

  const findings = study?.findings ?? [];
  const current = findings.find((item) => item.finding.id === chosen) ?? null;
  const locked = study ? ["final", "written"].includes(study.report_state) : true;
  const mayJudge = (study?.can.includes("finding:judge") ?? false) && !locked;

  const look = (point: Point3): void => setFocus({ point, asked: Date.now() });
  const choose = (item: StudyFinding): void => {
    const id = item.finding.id;
    setChosen(id);
    if (!shownAt.current.has(id)) shownAt.current.set(id, new Date().toISOString());
    const point = positionOf(item.finding);
    if (point) look(point);
    if (mode.kind !== "browse") setMode(BROWSE);
  };

  // What was begun ends where it may no longer be done: somebody else has signed.
  useEffect(() => {
    if (!mayJudge) setMode(BROWSE);
  }, [mayJudge]);

  // The first finding to decide is chosen when there is none yet, or the chosen one is gone.
  useEffect(() => {
    if (current || mode.kind !== "browse") return;
    const first = findings.find((item) => item.decision === "undecided") ?? findings[0];
    if (first) choose(first);
  }, [study]);

  const step = (by: number): void => {
    const at = findings.findIndex((item) => item.finding.id === chosen);
    const next = findings[Math.min(findings.length - 1, Math.max(0, at + by))];
    if (next) choose(next);
  };
  const chooseNextOpen = (after: string): void => {
    const at = findings.findIndex((item) => item.finding.id === after);
    const later = [...findings.slice(at + 1), ...findings.slice(0, at)];
    const next = later.find((item) => item.decision === "undecided");
    if (next) choose(next);
  };

  const about = (item: StudyFinding) => ({
    reading_id: item.reading_id,
    finding_id: item.finding.id,
    shown_at: shownAt.current.get(item.finding.id),
  });

  const accept = async (item: StudyFinding): Promise<void> => {
    if (mayJudge && (await decide({ kind: "accept", ...about(item) }))) chooseNextOpen(item.finding.id);
  };
  const startReject = (item: StudyFinding): void => {
    if (mayJudge) setMode({ kind: "reject", id: item.finding.id, waitingForText: null });
  };
  const reject = async (item: StudyFinding, code: string, text: string): Promise<void> => {
    const reason = REJECT_REASONS.find((one) => one.code === code);
    if (!reason) return;
    if (reason.needs_text && !text) {
      setMode({ kind: "reject", id: item.finding.id, waitingForText: code });
      return;
    }
    if (await decide({ kind: "reject", ...about(item), reason_code: code, reason_text: text })) {
      setMode(BROWSE);
      chooseNextOpen(item.finding.id);
    }
  };
  const startEdit = (item: StudyFinding): void => {
    if (!mayJudge) return;
    choose(item);
    setMode({ kind: "edit", id: item.finding.id, draft: item.finding });
  };
  const startAdd = (): void => {
    if (mayJudge) setMode({ kind: "place", type: 0, millimetres: USUAL_SIZE_MM });
  };
  const withdraw = async (item: StudyFinding): Promise<void> => {
    if (mayJudge && item.decision !== "undecided") await decide({ kind: "withdraw", ...about(item) });
  };
  const noFurther = async (): Promise<void> => {
    if (mayJudge && !study?.no_further_findings) await decide({ kind: "no-further-findings" });
  };
  const withdrawNoFurther = async (): Promise<void> => {
    if (mayJudge && study?.no_further_findings) await decide({ kind: "withdraw" });
  };
  const sayContext = async (context: PatientContext): Promise<void> => {
    if (mayJudge) await decide({ kind: "context", context });
  };
  const save = async (): Promise<void> => {
    if (mode.kind === "edit") {
      const item = findings.find((one) => one.finding.id === mode.id);
      if (item && (await decide({ kind: "edit", ...about(item), after: mode.draft }))) setMode(BROWSE);
    } else if (mode.kind === "add" && (await decide({ kind: "add", after: mode.draft }))) {
      setMode(BROWSE);
      setChosen(mode.draft.id);
    }
  };
  const change = (draft: Finding): void => {
    if (mode.kind === "edit" || mode.kind === "add") setMode({ ...mode, draft });
  };

  /** A click on the images: a new finding, a new place for the one being edited, or just a look there. */
  const pick = (point: Point3, series: LoadedSeries | null): void => {
    look(point);
    const plane = series?.planes[0];
    const type = mode.kind === "place" ? ADDABLE[mode.type] : undefined;
    if (mode.kind === "place" && plane && type && series) {
      const at = {
        point, alongRow: plane.alongRow, alongColumn: plane.alongColumn,
        frameOfReferenceUid: plane.frameOfReferenceUid, seriesInstanceUid: series.seriesInstanceUid,
      };
      setMode({ kind: "add", draft: newFinding(at, type, mode.millimetres) });
    } else if (mode.kind === "edit" || mode.kind === "add") change(moveTo(mode.draft, point));
  };
  /** Move what is being edited or added by a vector, mm. */
  const nudge = (by: Point3): void => {
    const from = mode.kind === "edit" || mode.kind === "add" ? positionOf(mode.draft) : null;
    if (from && (mode.kind === "edit" || mode.kind === "add")) change(moveTo(mode.draft, add(from, by)));
  };
  const pull = (role: Axis["role"], end: "start" | "end", point: Point3): void => {
    if (mode.kind === "edit" || mode.kind === "add") change(pullEnd(mode.draft, role, end, point));
  };

  /** The findings as drawn: with the draft in place of the finding it changes, or after them. */
  const drawn = useMemo(() => withDraft(findings, mode), [study, mode]);

  return {
    findings, drawn, current, mode, setMode, focus, locked, mayJudge, choose, step, accept, startReject, reject,
    startEdit, startAdd, withdraw, noFurther, withdrawNoFurther, sayContext, save, change, pick, nudge, pull,
    selectedId: mode.kind === "add" ? mode.draft.id : chosen,
    cancel: () => setMode(BROWSE),
  };
}

export type Review = ReturnType<typeof useReview>;

function withDraft(findings: readonly StudyFinding[], mode: Mode): StudyFinding[] {
  if (mode.kind === "edit") {
    return findings.map((item) => (item.finding.id === mode.id ? { ...item, finding: mode.draft } : item));
  }
  if (mode.kind !== "add") return [...findings];
  const added: StudyFinding = {
    finding: mode.draft, reading_id: null, reader: "", evidence_level: null, segment_url: null, heat_map_url: null, decision: "added",
    by: null, at: null, reason_code: null, reason_text: "", original: null, said: [],
  };
  return [...findings, added];
}

/** Whether the study still has findings nobody has decided on. */
export const undecided = (study: Study): number =>
  study.findings.filter((item) => item.decision === "undecided").length;
