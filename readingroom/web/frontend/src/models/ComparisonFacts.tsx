// How a version compares with the live one on the studies that both have read. Numbers only.

import type { Comparison, Estimate } from "../api/models";

export function ComparisonFacts({ comparison: c }: { comparison: Comparison }) {
  const states = Object.entries(c.states).map(([state, n]) => `${n} ${state}`).join(", ");
  return (
    <dl className="facts" data-testid="model-comparison">
      <dt>Read in shadow</dt>
      <dd>{c.studies === 1 ? "1 study" : `${c.studies} studies`}: {states}</dd>
      {c.both_looked === 0
        ? <><dt>With the live one</dt><dd className="muted">No study yet that both have read.</dd></>
        : (
          <>
            <dt>Both have read</dt>
            <dd>{c.both_looked === 1 ? "1 study" : `${c.both_looked} studies`}, live then: {c.live_versions.join(", ")}</dd>
            <dt>Findings</dt>
            <dd>live {c.live_findings}, shadow {c.shadow_findings}, both {c.same_findings}</dd>
            <dt>Live findings it has too</dt><dd>{percent(c.live_found_again)}</dd>
            <dt>Its findings that live has too</dt><dd>{percent(c.shadow_known)}</dd>
            <dt>Something or nothing found</dt>
            <dd>{c.kappa ? `kappa ${number(c.kappa.value)}${range(c.kappa, number)}` : "kappa: too few studies, or all alike"}</dd>
            <dt>Scores of findings both have</dt>
            <dd>{c.score_correlation === null ? "correlation: fewer than 10 scores" : `Spearman ${number(c.score_correlation)}`}</dd>
            <dt>Seconds a study, median</dt>
            <dd>live {seconds(c.live_seconds)}, shadow {seconds(c.shadow_seconds)} <span className="muted">(shadow runs on one thread)</span></dd>
          </>
        )}
    </dl>
  );
}

const number = (value: number): string => value.toFixed(2);
const share = (value: number): string => `${Math.round(value * 100)}%`;
const seconds = (value: number | null): string => (value === null ? "–" : value.toFixed(1));

function range(estimate: Estimate, words: (value: number) => string): string {
  return estimate.low === null || estimate.high === null ? "" : ` (95% ${words(estimate.low)} to ${words(estimate.high)})`;
}

function percent(estimate: Estimate | null): string {
  return estimate ? `${share(estimate.value)} of ${estimate.n}${range(estimate, share)}` : "–";
}
