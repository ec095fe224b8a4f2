import type { WorklistItem } from "../api/types";
import { Badge, ReaderChip, ReportChip, UrgentChip } from "../components/Chips";
import { follow } from "../components/Top";
import { age, dicomDate, percent, personName } from "../format";
import { go, studyPath } from "../router";

const PRIORITIES: Record<string, { word: string; look: string }> = {
  "0": { word: "routine", look: "" },
  "1": { word: "▲ high", look: "high" },
  "2": { word: "▲▲ stat", look: "stat" },
};

export function WorklistRow({ item, chosen, onChoose }: { item: WorklistItem; chosen: boolean; onChoose: () => void }) {
  const path = studyPath(item.study_id);
  const priority = PRIORITIES[String(item.priority)] ?? { word: String(item.priority), look: "" };
  return (
    <tr
      className={chosen ? "chosen" : undefined} data-testid="worklist-row" data-study={item.study_id}
      onClick={() => { onChoose(); go(path); }}
    >
      <td>
        <div className={`priority ${priority.look}`}>{priority.word}</div>
        <div className="sub">{item.priority_reason}</div>
      </td>
      <td>
        <a className="patient" href={path} onClick={(event) => { event.stopPropagation(); follow(path)(event); }}>
          {personName(item.patient.PatientName)}
        </a>
        <div className="sub number">
          {item.patient.PatientID || "no identifier"}
          {item.patient.PatientBirthDate && ` · ${dicomDate(item.patient.PatientBirthDate)}`}
          {item.patient.PatientSex && <span className="keep"> · {item.patient.PatientSex}</span>}
        </div>
      </td>
      <td>
        <div>{item.StudyDescription || "(no description)"}</div>
        <div className="sub number">
          {item.modalities.join(", ")} · {dicomDate(item.StudyDate)} · {item.instances} images
          {item.project !== "care" && <> · <span className="keep">{item.project}</span></>}
          {item.AccessionNumber && <> · <span className="keep">{item.AccessionNumber}</span></>}
        </div>
      </td>
      <td><ReaderLines item={item} /></td>
      <td><FindingCount item={item} /></td>
      <td><Badges item={item} /></td>
      <td className="right number">{age(item.age_seconds)}</td>
    </tr>
  );
}

function ReaderLines({ item }: { item: WorklistItem }) {
  if (item.readers.length === 0) return <span className="muted">{item.state || "waiting for images"}</span>;
  const apart = item.readers.filter((reader) => reader.state === "not-applicable");
  return (
    <>
      {item.readers.filter((reader) => !apart.includes(reader)).map((reader) => (
        <div key={`${reader.reader} ${reader.version}`} className="reader-line">
          <ReaderChip {...reader} />
          {reader.state === "reading" && (
            <progress value={reader.progress ?? 0} max={1} aria-label={`Progress of ${reader.reader}`} />
          )}
          {["abstained", "failed", "partial"].includes(reader.state) && reader.reason && (
            <div className="sub">{reader.reason}</div>
          )}
        </div>
      ))}
      {apart.length > 0 && (
        <div className="sub" title={apart.map((reader) => `${reader.reader}: ${reader.reason}`).join("\n")}>
          Not applicable: {apart.map((reader) => reader.reader).join(", ")}
        </div>
      )}
    </>
  );
}

function FindingCount({ item }: { item: WorklistItem }) {
  const { shown, accepted, rejected, undecided, top_probability: top } = item.findings;
  if (shown === 0) return <span className="muted">none shown</span>;
  return (
    <>
      <div className="number">{shown} shown{top !== null && ` · top ${percent(top)}`}</div>
      <div className="sub number">{accepted} accepted · {rejected} rejected · {undecided} to decide</div>
    </>
  );
}

function Badges({ item }: { item: WorklistItem }) {
  const said = (value: boolean | string): string | undefined => (typeof value === "string" ? value : undefined);
  return (
    <div className="chips">
      {item.urgent && <UrgentChip mark={item.urgent} />}
      <ReportChip state={item.report_state} />
      {item.simulated && <Badge tone="warn">simulated</Badge>}
      {item.held && <Badge tone="bad" title={said(item.held)}>held</Badge>}
      {item.partial && <Badge tone="warn" title={said(item.partial)}>partial</Badge>}
      {item.restricted && <Badge tone="warn" title="Only the people named on it see it">restricted</Badge>}
      {item.tasks > 0 && <Badge tone="warn">{item.tasks === 1 ? "1 task" : `${item.tasks} tasks`}</Badge>}
    </div>
  );
}
