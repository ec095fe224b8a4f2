// What the list and the page of a run share: its state in a sign and words, how far it is, and how long it has left.

import type { RunState, RunSummary } from "../api/runs";
import { age } from "../format";

const STATES: Record<RunState, { sign: string; words: string; tone: string }> = {
  preparing: { sign: "…", words: "preparing", tone: "info" },
  training: { sign: "▸", words: "training", tone: "info" },
  done: { sign: "●", words: "done", tone: "good" },
  stopped: { sign: "◐", words: "stopped", tone: "warn" },
  interrupted: { sign: "✕", words: "interrupted", tone: "bad" },
  unreadable: { sign: "?", words: "unreadable", tone: "bad" },
};

export const isLive = (state: RunState): boolean => state === "preparing" || state === "training";

export function RunChip({ state }: { state: RunState }) {
  const { sign, words, tone } = STATES[state];
  return <span className={`chip ${tone}`} data-testid="run-state" data-state={state}><span aria-hidden="true">{sign}</span>{words}</span>;
}

/** `fold 2 of 5, step 120 of 480`. */
export function whereItIs(run: RunSummary): string {
  if (run.fold === null || run.folds === null) return run.folds === null ? "" : `${run.folds} folds`;
  return `fold ${run.fold + 1} of ${run.folds}, step ${run.step ?? 0} of ${run.steps ?? 0}`;
}

export function timeLeft(run: RunSummary): string {
  if (run.left_seconds === null || run.budget_seconds === null) return "";
  return `${age(run.left_seconds)} left of ${age(run.budget_seconds)}`;
}

export function RunProgress({ run }: { run: RunSummary }) {
  const part = Math.floor(run.progress * 100);
  return (
    <div className="run-progress">
      <progress max={100} value={part} aria-label={`Progress of ${run.name}`} />
      <span className="number">{part}%</span>
    </div>
  );
}
