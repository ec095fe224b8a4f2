import { useEffect, useRef } from "react";
import type { Finding, Study, StudyFinding, StudyReading } from "../api/types";
import { EvidenceChip, ReaderChip } from "../components/Chips";
import { follow } from "../components/Top";
import { normsPath } from "../router";
import { DECISION_WORDS, duration, localTime, measurementText, percent, sideText } from "../format";
import { code, sameCode } from "./codes";
import { FindingDetails } from "./FindingDetails";
import { StudyAssessments } from "./Assessments";
import { PatientFacts } from "./PatientFacts";
import { AddForm, EditForm, RejectForm } from "./FindingForms";
import type { Review } from "./review";

/** What each reader said of this study, whatever it said: a silent list must not look like a negative. */
export function Readings({ studyId, readings }: { studyId: string; readings: readonly StudyReading[] }) {
  if (!readings.length) {
    return <p className="note info" role="status">No reader has looked at this study yet. An empty list says nothing.</p>;
  }
  const apart = readings.filter((reading) => reading.state === "not-applicable");
  return (
    <ul className="readings" aria-label="Readers">
      {readings.filter((reading) => !apart.includes(reading)).map((reading) => (
        <li key={reading.id}>
          <div className="chips">
            <ReaderChip {...reading} />
            <EvidenceChip level={reading.evidence_level} />
          </div>
          {reading.reason && <div className="reason">{reading.reason}</div>}
          {reading.state === "reading" && (
            <progress value={reading.progress ?? 0} max={1} aria-label={`Progress of ${reading.reader}`} />
          )}
          {looked(reading) && <div className="reason number">{reading.card_title}{secondsOf(reading)}</div>}
          {looked(reading) && <StudyMeasures reading={reading} />}
          {looked(reading) && reading.reader === "alzheimer" && (
            <a href={normsPath(studyId)} onClick={follow(normsPath(studyId))} data-testid="study-norms">Map and curves of all regions</a>
          )}
        </li>
      ))}
      {apart.length > 0 && (
        <li key="not-applicable">
          <div className="chips">{apart.map((reading) => <ReaderChip key={reading.id} {...reading} />)}</div>
          <details className="reason">
            <summary>Why {apart.length === 1 ? "it does" : "they do"} not apply</summary>
            <ul>{apart.map((reading) => <li key={reading.id}>{reading.reader}: {reading.reason}</li>)}</ul>
          </details>
        </li>
      )}
    </ul>
  );
}

const looked = (reading: StudyReading): boolean => ["read-nothing-found", "found", "partial"].includes(reading.state);

/** What a reader measured of the study as a whole: volumes, asymmetry, shift. */
function StudyMeasures({ reading }: { reading: StudyReading }) {
  const measures = reading.body?.study_measurements ?? [];
  if (!measures.length) return null;
  return (
    <details className="study-measures" open={measures.length <= 12} data-testid="study-measures">
      <summary>{measures.length} {measures.length === 1 ? "measure" : "measures"} of the study</summary>
      <dl className="number">
        {measures.map((one) => (
          <div key={`${one.code.value} ${one.method}`} title={one.method}>
            <dt>{one.code.meaning}</dt>
            <dd>{measurementText(one)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function secondsOf(reading: StudyReading): string {
  const seconds = reading.seconds;
  if (seconds === null) return "";
  const total = typeof seconds === "number" ? seconds : (seconds.total ?? Object.values(seconds).reduce((a, b) => a + b, 0));
  return total > 0 ? ` · ${duration(total)}` : "";
}

export function FindingList({ study, review, busy }: { study: Study; review: Review; busy: boolean }) {
  const { findings, mode, mayJudge } = review;
  return (
    <section aria-label="Findings" className="stack">
      <Readings studyId={study.study_id} readings={study.readings} />
      <div className="row">
        <h2>Findings</h2>
        <span className="muted number">{findings.length || "none shown"}</span>
      </div>
      <ol className="findings" aria-label="Findings">
        {findings.map((item, index) => (
          <FindingItem key={item.finding.id} item={item} ordinal={index + 1} review={review} busy={busy} />
        ))}
      </ol>
      {mode.kind === "place" && (
        <AddForm
          type={mode.type} millimetres={mode.millimetres} onCancel={review.cancel}
          onType={(type) => review.setMode({ ...mode, type })} onSize={(millimetres) => review.setMode({ ...mode, millimetres })}
        />
      )}
      {mode.kind === "add" && (
        <div className="finding selected">
          <div className="details">
            <strong>New: {mode.draft.code.meaning}</strong>
            <EditForm draft={mode.draft} adding busy={busy} onChange={review.change} onSave={() => void review.save()} onCancel={review.cancel} />
          </div>
        </div>
      )}
      <StudyAssessments study={study} />
      <PatientFacts study={study} mayChange={mayJudge} busy={busy} onSaid={(context) => void review.sayContext(context)} />
      {mayJudge && (
        <div className="decisions">
          <button type="button" onClick={review.startAdd} disabled={busy} data-testid="finding-add">Add a finding <kbd>n</kbd></button>
          <button
            type="button" onClick={() => void review.noFurther()} disabled={busy || study.no_further_findings !== null}
            data-testid="no-further-findings"
          >
            No further findings <kbd>f</kbd>
          </button>
        </div>
      )}
      {study.no_further_findings && (
        <p className="note good" data-testid="no-further-findings-said">
          ✓ No further findings, said {study.no_further_findings.by}, {localTime(study.no_further_findings.at)}{" "}
          {mayJudge && <button type="button" className="quiet" disabled={busy} onClick={() => void review.withdrawNoFurther()}>Undo</button>}
        </p>
      )}
      {review.locked && <p className="muted">The report is signed: findings can no longer be changed.</p>}
    </section>
  );
}

/** `15.2 x 13.0 mm`, else the first measure there is. */
function sizeOf(finding: Finding): string {
  const [long, short] = (["long-axis", "short-axis"] as const).map((name) =>
    finding.measurements.find((measurement) => sameCode(measurement.code, code(name))),
  );
  if (long && short) return `${long.value.toFixed(1)} x ${measurementText(short)}`;
  const first = long ?? finding.measurements[0];
  return first ? measurementText(first) : "";
}

function summary(item: StudyFinding): string {
  const { finding } = item;
  const parts = [
    finding.side?.agree === false ? "side uncertain" : finding.side ? sideText(finding.side.value) : "",
    finding.site?.meaning.toLowerCase() ?? "",
    sizeOf(finding),
  ];
  return parts.filter(Boolean).join(" · ");
}

function FindingItem({ item, ordinal, review, busy }: {
  item: StudyFinding;
  ordinal: number;
  review: Review;
  busy: boolean;
}) {
  const { mode, mayJudge } = review;
  const element = useRef<HTMLLIElement>(null);
  const selected = review.current?.finding.id === item.finding.id && mode.kind !== "add";
  useEffect(() => {
    if (selected) element.current?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  const rejecting = mode.kind === "reject" && mode.id === item.finding.id;
  const editing = mode.kind === "edit" && mode.id === item.finding.id;
  return (
    <li
      ref={element} className={`finding ${item.decision} ${selected ? "selected" : ""}`} data-testid="finding-item"
      data-decision={item.decision} data-finding={item.finding.id}
    >
      <button type="button" className="finding-open" onClick={() => review.choose(item)} aria-expanded={selected} aria-current={selected || undefined}>
        <span className="ordinal">{ordinal}</span>
        <span className="finding-title">{item.finding.code.meaning}{item.finding.side?.agree === false && " ⚠"}</span>
        <span className="number">{item.finding.probability === null ? "" : percent(item.finding.probability)}</span>
        <span className="sub">{summary(item)}</span>
        <span className="sub">{signOf(item)} {DECISION_WORDS[item.decision]}</span>
      </button>
      {selected && (
        <div className="details">
          {editing && mode.kind === "edit" ? (
            <EditForm draft={mode.draft} adding={false} busy={busy} onChange={review.change} onSave={() => void review.save()} onCancel={review.cancel} />
          ) : (
            <FindingDetails item={item} />
          )}
          {rejecting && mode.kind === "reject" && (
            <RejectForm
              waitingForText={mode.waitingForText} busy={busy} onCancel={review.cancel}
              onReason={(code, text) => void review.reject(item, code, text)}
            />
          )}
          {mayJudge && !rejecting && !editing && <Decisions item={item} review={review} busy={busy} />}
        </div>
      )}
    </li>
  );
}

const signOf = (item: StudyFinding): string =>
  ({ undecided: "○", accepted: "✓", edited: "✓", added: "✓", rejected: "✕" })[item.decision];

function Decisions({ item, review, busy }: { item: StudyFinding; review: Review; busy: boolean }) {
  const mine = item.decision === "added";
  return (
    <div className="decisions" role="group" aria-label="Decision">
      {!mine && (
        <>
          <button type="button" disabled={busy} aria-pressed={["accepted", "edited"].includes(item.decision)} onClick={() => void review.accept(item)} data-testid="finding-accept">Accept <kbd>a</kbd></button>
          <button type="button" disabled={busy} aria-pressed={item.decision === "rejected"} onClick={() => review.startReject(item)} data-testid="finding-reject">Reject <kbd>r</kbd></button>
        </>
      )}
      <button type="button" disabled={busy} onClick={() => review.startEdit(item)} data-testid="finding-edit">Edit <kbd>e</kbd></button>
      {item.decision !== "undecided" && (
        <button type="button" className="quiet" disabled={busy} onClick={() => void review.withdraw(item)} data-testid="finding-withdraw">{mine ? "Remove" : "Undo"} <kbd>u</kbd></button>
      )}
    </div>
  );
}
