import type { StudyFinding } from "../api/types";
import { EvidenceChip } from "../components/Chips";
import { localTime, measurementText, percent, sideText } from "../format";
import { FindingAssessments } from "./Assessments";
import { isChange, reasonMeaning } from "./codes";

/** Everything known of one finding, below its title. */
export function FindingDetails({ item }: { item: StudyFinding }) {
  const { finding } = item;
  return (
    <>
      {finding.probability !== null && (
        <div className="probability">
          <span className="muted">Probability</span>
          <meter min={0} max={1} value={finding.probability} aria-label="Probability" />
          <span className="number">{percent(finding.probability)}</span>
        </div>
      )}
      {finding.measurements.length > 0 && (
        <dl className="measures">
          {finding.measurements.map((measurement, n) => (
            <div key={n} className="fact">
              <dt title={measurement.method || undefined}>{measurement.code.meaning}</dt>
              <dd>{isChange(measurement.code) && measurement.value > 0 && "+"}{measurementText(measurement)}</dd>
            </div>
          ))}
        </dl>
      )}
      <Characteristics item={item} />
      <FindingAssessments item={item} />
      <SideNote item={item} />
      {finding.comment && <p>{finding.comment}</p>}
      <EvidenceNote item={item} />
      <div className="row">
        <span className="muted">{item.reader ? item.reader : "a person"}</span>
        {item.reader && item.evidence_level !== null && <EvidenceChip level={item.evidence_level} />}
      </div>
      {item.by && (
        <p className="muted number">
          {item.decision} by {item.by}, {localTime(item.at)}
          {item.decision === "rejected" && `: ${reasonMeaning(item.reason_code)}`}
          {item.reason_text && ` (${item.reason_text})`}
        </p>
      )}
    </>
  );
}

function SideNote({ item }: { item: StudyFinding }) {
  const side = item.finding.side;
  if (!side) return null;
  const said = side.witnesses.filter((witness) => witness.side);
  if (side.agree) {
    return (
      <div className="muted">
        {sideText(side.value)}{said.length > 0 && ` by ${said.map((witness) => witness.witness).join(", ")}`}
      </div>
    );
  }
  return (
    <div className="note warn" role="note" data-testid="side-disagrees">
      <strong>The side is not certain.</strong> The witnesses disagree:
      <ul>
        {said.map((witness) => (
          <li key={witness.witness}>{witness.witness}: {witness.side}{witness.detail && ` (${witness.detail})`}</li>
        ))}
      </ul>
    </div>
  );
}

/** What kind of thing it is, with the reader's own probability of that; a person's word has none. */
function Characteristics({ item }: { item: StudyFinding }) {
  const { characteristics } = item.finding;
  if (!characteristics.length) return null;
  return (
    <dl className="measures" aria-label="Characteristics" data-testid="characteristics">
      {characteristics.map((one) => (
        <div key={one.concept.value + one.value.value} className="fact">
          <dt>{one.concept.meaning}</dt>
          <dd>{one.value.meaning}{one.probability !== null && <span className="muted"> {percent(one.probability)}</span>}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Cases of the training set that look like this one. No pictures: they are other people's. */
function Similar({ item }: { item: StudyFinding }) {
  const { similar } = item.finding.evidence;
  if (!similar.length) return null;
  return (
    <div data-testid="similar">
      <div className="muted small">Nearest cases of the training set of {item.reader}, by the distance of its features (0 is the same):</div>
      <ol>
        {similar.map((one) => (
          <li key={one.case}>{one.description} <span className="muted number">(distance {one.distance.toFixed(2)}, case {one.case})</span></li>
        ))}
      </ol>
    </div>
  );
}

function EvidenceNote({ item }: { item: StudyFinding }) {
  const { contributions, rule, notes, similar } = item.finding.evidence;
  if (!contributions.length && !rule && !notes.length && !similar.length) return null;
  const most = Math.max(...contributions.map((one) => Math.abs(one.weight)), 1e-9);
  return (
    <details className="evidence">
      <summary>Why the reader says so</summary>
      {contributions.length > 0 && (
        <div className="bars number" data-testid="contributions">
          <div className="fact muted"><span>what counted</span><span className="ends"><span>against</span><span>for</span></span><span>log-odds</span></div>
          {[...contributions].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 8).map((one) => (
            <div key={one.feature} className="fact">
              <span>
                {one.feature.replaceAll("_", " ")}
                {one.value !== null && <strong> {Number(one.value.toPrecision(3))}</strong>}
              </span>
              <Bar part={one.weight / most} weight={one.weight} />
              <span className="weight muted">{signed(one.weight)}</span>
            </div>
          ))}
        </div>
      )}
      <ul>
        {rule && <li>{rule}</li>}
        {notes.map((note) => <li key={note}>{note}</li>)}
        {item.finding.evidence.heat_map && item.heat_map_url && <li>A heat map shows where the network looked: key h.</li>}
      </ul>
      <Similar item={item} />
    </details>
  );
}

const signed = (weight: number): string => `${weight < 0 ? "−" : "+"}${Math.abs(weight).toFixed(1)}`;

/** A bar to the right speaks for the finding, to the left against it. */
function Bar({ part, weight }: { part: number; weight: number }) {
  const width = Math.abs(part) * 40;
  const text = `${weight > 0 ? "for" : "against"} the finding, ${Math.abs(weight).toFixed(2)} log-odds`;
  return (
    <svg viewBox="0 0 80 10" role="img" aria-label={text}>
      <title>{text}</title>
      <path d="M40 0V10" stroke="#5a6d79" />
      <rect x={part > 0 ? 40 : 40 - width} y={2} width={width} height={6} fill={part > 0 ? "#5cc8d7" : "#ff8a80"} />
    </svg>
  );
}
