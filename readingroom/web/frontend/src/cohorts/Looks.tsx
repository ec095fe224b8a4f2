import type { Evaluation } from "../api/cohorts";
import { localTime } from "../format";
import { estimateText } from "./words";

/** Every look at the locked test part: who, when, why, and what was seen. */
export function Looks({ evaluations }: { evaluations: readonly Evaluation[] }) {
  return (
    <section className="card" data-testid="looks">
      <h2>Evaluations on the locked test part: {evaluations.length}</h2>
      {evaluations.length === 0 && <p className="muted">Nobody has looked at it yet.</p>}
      {evaluations.length > 0 && (
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">No.</th><th scope="col">Who and when</th><th scope="col">Why</th><th scope="col">Reader</th>
              <th scope="col">Measured on</th><th scope="col">Sensitivity</th><th scope="col">False marks a study</th><th scope="col">Mean FROC</th>
            </tr>
          </thead>
          <tbody>
            {evaluations.map((look) => (
              <tr key={look.number} data-testid="look" title={look.said}>
                <td className="number">{look.number}</td>
                <td>{look.by}<br /><span className="sub">{localTime(look.at)}</span></td>
                <td>{look.why}</td>
                <td>{look.reader} {look.reader_version}<br /><span className="sub">weights {look.weights_sha256.slice(0, 8) || "none"}</span></td>
                <td>
                  {look.result.lesions} lesions in {look.result.studies} studies of {look.result.groups} patients
                  <br /><span className="sub">version {look.version}, label set {look.label_set}{look.result.incomplete > 0 && `; ${look.result.incomplete} not judged completely`}</span>
                </td>
                <td>{estimateText(look.result.sensitivity)}</td>
                <td>{estimateText(look.result.false_marks_per_study)}</td>
                <td>{estimateText(look.result.froc_mean)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <p className="muted sub">
        Whoever looks often enough, and keeps what looked best, has trained on it. A mark hits the nearest lesion within half its
        long axis, at least 5 mm. 95 % intervals over patients.
      </p>
    </section>
  );
}
