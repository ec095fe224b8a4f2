import type { AuditLine, Outcome } from "../api/types";
import { dicomDate, localSeconds, personName } from "../format";

const OUTCOMES: Record<Outcome, { words: string; tone: string }> = {
  success: { words: "", tone: "" },
  failure: { words: "failed", tone: "warn" },
  refused: { words: "refused", tone: "warn" },
  compromised: { words: "compromised", tone: "bad" },
};

/** Events, newest first. `withPatient`: say whose study it is (on a page about one patient that is known). */
export function EventTable({ items, withPatient }: { items: AuditLine[]; withPatient: boolean }) {
  return (
    <table className="plain audit-events" data-testid="audit-events">
      <thead>
        <tr>
          <th scope="col">When</th><th scope="col">Who</th><th scope="col">Did what</th>
          <th scope="col">Study</th><th scope="col">From</th><th scope="col">Detail</th>
        </tr>
      </thead>
      <tbody>
        {items.map((item) => (
          <tr key={item.number} data-testid="audit-event" data-action={item.action}>
            <td className="number keep">{localSeconds(item.at)}</td>
            <td><Who actor={item.actor} name={item.display_name} /></td>
            <td>
              {item.words}
              {OUTCOMES[item.outcome].words && <> <span className={`chip ${OUTCOMES[item.outcome].tone}`}>{OUTCOMES[item.outcome].words}</span></>}
              <div className="sub">{item.kind}</div>
            </td>
            <td>
              {item.study && withPatient && (
                <div>{personName(item.study.patient.PatientName)} <span className="sub">{item.study.patient.PatientID || "no identifier"}</span></div>
              )}
              {item.study && (
                <span className={withPatient ? "sub" : ""}>
                  {[item.study.StudyDescription || "study", dicomDate(item.study.StudyDate)].filter(Boolean).join(" · ")}
                </span>
              )}
            </td>
            <td className="number">{item.host}</td>
            <td className="sub">{detail(item.detail)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The name people know, and the account's where that differs. */
export function Who({ actor, name }: { actor: string; name: string }) {
  return name && name !== actor ? <>{name} <span className="sub">{actor}</span></> : <>{actor}</>;
}

function detail(found: Record<string, unknown>): string {
  return Object.entries(found)
    .filter(([, value]) => value !== "" && value !== null)
    .map(([key, value]) => `${key.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
}
