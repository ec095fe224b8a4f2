import type { ReaderState, ReportState, UrgentMark, UrgentState } from "../api/types";
import { EVIDENCE_LEVELS, READER_STATE_SIGNS, readerStateText } from "../format";

type Tone = "" | "good" | "warn" | "bad" | "info";

const READER_TONES: Record<ReaderState, Tone> = {
  "not-applicable": "",
  queued: "info",
  reading: "info",
  "read-nothing-found": "good",
  found: "warn",
  abstained: "warn",
  failed: "bad",
  partial: "warn",
  superseded: "",
};

/** State of one reader: a sign, its name and the words, so that colour is never the only teller. */
export function ReaderChip({ reader, version, state, progress, reason }: {
  reader: string;
  version: string;
  state: ReaderState;
  progress?: number | null;
  reason?: string;
}) {
  return (
    <span
      className={`chip ${READER_TONES[state] ?? ""}`}
      title={reason || undefined}
      data-testid="reader-state"
      data-state={state}
    >
      <span aria-hidden="true">{READER_STATE_SIGNS[state] ?? "·"}</span>
      {reader} {version}: {readerStateText(state, progress)}
    </span>
  );
}

const REPORT_WORDS: Record<ReportState, { words: string; tone: Tone }> = {
  none: { words: "no report", tone: "" },
  draft: { words: "report draft", tone: "info" },
  final: { words: "report signed", tone: "good" },
  written: { words: "report signed, objects written", tone: "good" },
};

export function ReportChip({ state }: { state: ReportState }) {
  const known = REPORT_WORDS[state] ?? { words: state, tone: "" };
  return <span className={`chip ${known.tone}`} data-testid="report-state" data-state={state}>{known.words}</span>;
}

export const URGENT_STATES: Record<UrgentState, { words: string; sign: string; tone: Tone }> = {
  raised: { words: "nobody has seen it yet", sign: "⚠", tone: "bad" },
  shown: { words: "shown, not acknowledged", sign: "⚠", tone: "bad" },
  escalated: { words: "escalated, not acknowledged", sign: "⚠⚠", tone: "bad" },
  acknowledged: { words: "acknowledged", sign: "✓", tone: "good" },
  closed: { words: "closed", sign: "–", tone: "" },
};

/** How far the alert of an urgent finding has come. */
export function UrgentChip({ mark }: { mark: Pick<UrgentMark, "state" | "finding" | "acknowledged_by"> }) {
  const { words, sign, tone } = URGENT_STATES[mark.state];
  return (
    <span className={`chip ${tone}`} title={mark.finding} data-testid="urgent-state" data-state={mark.state}>
      <span aria-hidden="true">{sign}</span> alert {words}{mark.state === "acknowledged" && ` by ${mark.acknowledged_by}`}
    </span>
  );
}

export function EvidenceChip({ level }: { level: number }) {
  const known = EVIDENCE_LEVELS[level];
  const tone: Tone = level === 0 ? "warn" : "info";
  return (
    <span className={`chip ${tone}`} title={known?.meaning} data-testid="evidence-level">
      evidence {level}: {known?.name ?? "unknown"}
    </span>
  );
}

export function Badge({ tone, title, children }: { tone: Tone; title?: string; children: string }) {
  return <span className={`chip ${tone}`} title={title}>{children}</span>;
}
