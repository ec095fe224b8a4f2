// Categories by published tables: of the study, and of one finding. What people stand behind comes first; what a reader
// said stands beside it where it differs.

import type { Assessment, Earlier, Study, StudyAssessment, StudyFinding } from "../api/types";

const given = (one: Assessment): boolean => !["not-applicable", "undetermined"].includes(one.category.value);

export const sameAssessment = (a: Assessment, b: Assessment): boolean =>
  a.table === b.table && a.category.value === b.category.value && a.rule === b.rule;

/** What each table says of the whole study. */
export function StudyAssessments({ study }: { study: Study }) {
  if (!study.assessments.length) return null;
  return (
    <section aria-label="Assessments" className="assessments" data-testid="assessments">
      <h2>Assessments</h2>
      {study.assessments.map((one) => <OfStudy key={`${one.table} ${one.edition}`} one={one} study={study} />)}
    </section>
  );
}

function OfStudy({ one, study }: { one: StudyAssessment; study: Study }) {
  const { stated } = one;
  const place = study.findings.findIndex((item) => item.finding.id === one.dominant);
  return (
    <div className="assessment" data-testid="assessment" data-category={stated?.category.value ?? ""}>
      {stated ? (
        <>
          <div className="category"><strong>{given(stated) ? stated.category.meaning : `${one.table} ${one.edition}: ${stated.category.meaning.toLowerCase()}`}</strong> <span className="muted">by what is accepted</span></div>
          {place >= 0 && <div className="muted">Dominant: finding {place + 1}</div>}
          <Why one={stated} />
        </>
      ) : (
        <div className="category"><strong>{one.table} {one.edition}</strong> <span className="muted">no category yet: nothing is accepted that has one</span></div>
      )}
      {one.unjudged > 0 && <div className="muted">{one.unjudged} {one.unjudged === 1 ? "nodule" : "nodules"} nobody has judged: not counted.</div>}
      {one.readers.map((said) => (
        <div key={`${said.reader} ${said.version}`} className={stated && !sameAssessment(said.assessment, stated) ? "note warn" : "muted"} data-testid="assessment-reader">
          AI, {said.title || said.reader} {said.version}: {stated && sameAssessment(said.assessment, stated) ? "the same" : said.assessment.category.meaning}
          {stated && !sameAssessment(said.assessment, stated) && <> (rule {said.assessment.rule}): not what the accepted findings give</>}
        </div>
      ))}
    </div>
  );
}

/** The categories of one finding, what changed since earlier studies, and the reader's own where they differ. */
export function FindingAssessments({ item }: { item: StudyFinding }) {
  const { assessments, earlier } = item.finding;
  if (!assessments.length && !earlier.length && !item.said.length) return null;
  const counted = ["accepted", "edited", "added"].includes(item.decision);
  const gone = item.said.filter((said) => !assessments.some((one) => one.table === said.table));
  return (
    <div className="assessments" data-testid="finding-assessments">
      {earlier.map((one) => <Then key={one.days_before} one={one} />)}
      {assessments.map((one) => {
        const said = item.said.find((other) => other.table === one.table);
        return (
          <div key={one.table} className="assessment">
            <div className="category"><strong>{one.category.meaning}</strong>{!counted && <span className="muted"> said by AI, not counted</span>}</div>
            {said && !sameAssessment(said, one) && <Said said={said} />}
            <Why one={one} />
          </div>
        );
      })}
      {gone.map((said) => <Said key={said.table} said={said} />)}
    </div>
  );
}

const Said = ({ said }: { said: Assessment }) => (
  <div className="note warn" data-testid="said-otherwise">AI said: {said.category.meaning} (rule {said.rule}: {said.because[0]})</div>
);

function Then({ one }: { one: Earlier }) {
  const days = `${one.days_before} days before`;
  if (one.found === null) return <div className="muted">{days}: could not be laid over this study</div>;
  if (!one.found) return <div className="muted">{days}: not found then</div>;
  const how = one.matched_by === "position" ? "found again by its position: check that it is the same" : "the same finding";
  return <div className="muted">{days}: {how}</div>;
}

/** The rule that fired, in words; what is recommended there; what nobody said. */
function Why({ one }: { one: Assessment }) {
  return (
    <details className="evidence">
      <summary>{one.because[0] ?? one.rule}</summary>
      <ul>
        {one.because.slice(1).map((text) => <li key={text}>{text}</li>)}
        {one.advice && <li><strong>Recommended there:</strong> {one.advice}</li>}
        {one.missing.length > 0 && <li>Nobody said: {one.missing.join(", ")}</li>}
        <li className="muted">{one.table} {one.edition}{given(one) && <>, rule <code>{one.rule}</code></>}</li>
      </ul>
    </details>
  );
}
