// What the tables ask about the patient and the study that no image shows. Each answer counts at once.

import type { PatientContext, Study } from "../api/types";
import { localTime } from "../format";

const NOTHING: PatientContext = {
  screening: null, risk: null, known_cancer: null, immunosuppressed: null, infection: false, prior_awaited: false,
};

type Choice = { name: "screening" | "risk" | "known_cancer" | "immunosuppressed"; label: string; options: [string, boolean | string][] };

const CHOICES: Choice[] = [
  { name: "screening", label: "Study", options: [["Screening", true], ["Incidental", false]] },
  { name: "risk", label: "Risk of lung cancer", options: [["Low", "low"], ["High", "high"]] },
  { name: "known_cancer", label: "Known cancer", options: [["Yes", true], ["No", false]] },
  { name: "immunosuppressed", label: "Immunosuppressed", options: [["Yes", true], ["No", false]] },
];

const MARKS: { name: "infection" | "prior_awaited"; label: string }[] = [
  { name: "infection", label: "Infection or inflammation suspected" },
  { name: "prior_awaited", label: "An earlier CT is awaited" },
];

/** Shown where a table is applied. */
export function PatientFacts({ study, mayChange, busy, onSaid }: {
  study: Study; mayChange: boolean; busy: boolean; onSaid: (context: PatientContext) => void;
}) {
  if (!study.assessments.length) return null;
  const said = study.context?.said ?? NOTHING;
  const off = !mayChange || busy;
  return (
    <details className="patient-facts" data-testid="patient-facts">
      <summary>What the tables ask about the patient</summary>
      <div className="facts">
        {CHOICES.map(({ name, label, options }) => (
          <label key={name}>
            <span>{label}</span>
            <select
              value={String(said[name])} disabled={off} data-testid={`fact-${name}`}
              onChange={(event) => {
                const chosen = options.find(([, value]) => String(value) === event.target.value);
                onSaid({ ...said, [name]: chosen ? chosen[1] : null });
              }}
            >
              <option value="null">Not said</option>
              {options.map(([words, value]) => <option key={words} value={String(value)}>{words}</option>)}
            </select>
          </label>
        ))}
        {MARKS.map(({ name, label }) => (
          <label key={name} className="mark">
            <input
              type="checkbox" checked={said[name]} disabled={off} data-testid={`fact-${name}`}
              onChange={(event) => onSaid({ ...said, [name]: event.target.checked })}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
      {study.context && <p className="muted">Said by {study.context.by}, {localTime(study.context.at)}</p>}
    </details>
  );
}
