"""A version in shadow against the live one: on the same images, what both say. Pure, and of findings only by number.

Findings are the same when they lie within ``SAME_MM`` of each other, or, without a place, have the same code.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from readingroom.evaluation.estimate import Estimate, proportion
from readingroom.findings.model import Finding, ImagePlace, PatientPlace, ReaderState, Reading

SAME_MM = 10.0
SAME_PIXELS = 20.0
FEWEST_SCORES = 10
"""Pairs of scores that a correlation needs."""
LOOKED = (ReaderState.FOUND, ReaderState.NOTHING_FOUND)
"""The reader has looked at all there is: only then does finding nothing say something."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pair(_Model):
    """One study revision as both read it."""

    live_version: str
    live_state: ReaderState
    live_findings: int
    shadow_findings: int
    scores: tuple[tuple[float | None, float | None], ...]
    """Of each finding that both have: the live one's, the shadow's."""
    live_seconds: float | None
    shadow_seconds: float | None


class Comparison(_Model):
    """All studies that a version has read in shadow. Estimates are None where there is too little to say."""

    studies: int
    states: dict[str, int]
    """State of the shadow's reading -> studies."""
    live_versions: tuple[str, ...]
    both_looked: int
    live_findings: int
    shadow_findings: int
    same_findings: int
    live_found_again: Estimate | None
    """Part of the live one's findings that the shadow has too. Findings of one study are not independent."""
    shadow_known: Estimate | None
    """Part of the shadow's findings that the live one has too."""
    kappa: Estimate | None
    """Cohen's, of something found or nothing, study by study."""
    score_correlation: float | None
    """Spearman's, of the scores of findings that both have."""
    live_seconds: float | None
    shadow_seconds: float | None
    """Medians of the studies that both looked at."""


def compare(live: Reading, shadow: Reading) -> Pair:
    """Return how two readings of the same images compare."""
    same = _same(live.findings, shadow.findings)
    return Pair(
        live_version=live.version,
        live_state=live.state,
        live_findings=len(live.findings),
        shadow_findings=len(shadow.findings),
        scores=tuple((live.findings[a].probability, shadow.findings[b].probability) for a, b in same),
        live_seconds=live.seconds.get("total"),
        shadow_seconds=shadow.seconds.get("total"),
    )


def summarise(readings: Sequence[tuple[str, Pair | None]]) -> Comparison:
    """Return the sum of (state of the shadow's reading, its pair with the live one's)."""
    pairs = [(state, p) for state, p in readings if p and state in LOOKED and p.live_state in LOOKED]
    live, shadow = sum(p.live_findings for _, p in pairs), sum(p.shadow_findings for _, p in pairs)
    same = sum(len(p.scores) for _, p in pairs)
    scores = [(a, b) for _, p in pairs for a, b in p.scores if a is not None and b is not None]
    return Comparison(
        studies=len(readings),
        states=dict(Counter(str(state) for state, _ in readings)),
        live_versions=tuple(sorted({p.live_version for _, p in pairs})),
        both_looked=len(pairs),
        live_findings=live,
        shadow_findings=shadow,
        same_findings=same,
        live_found_again=proportion(same, live) if live else None,
        shadow_known=proportion(same, shadow) if shadow else None,
        kappa=_kappa([p for _, p in pairs]),
        score_correlation=_correlation(scores),
        live_seconds=_median([p.live_seconds for _, p in pairs]),
        shadow_seconds=_median([p.shadow_seconds for _, p in pairs]),
    )


def _same(first: Sequence[Finding], second: Sequence[Finding]) -> list[tuple[int, int]]:
    """Return the pairs, one to one, that together lie nearest."""
    if not first or not second:
        return []
    # Processes that stand idle do without SciPy's tens of megabytes: it is loaded where there is something to compare.
    from scipy.optimize import linear_sum_assignment

    apart = np.array([[_apart(a, b) for b in second] for a in first])
    # Each pair that is near enough counts for more than any distance that it adds.
    rows, columns = linear_sum_assignment(np.where(apart <= 1, apart, len(first) + len(second) + 1))
    return [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if apart[a, b] <= 1]


def _apart(first: Finding, second: Finding) -> float:
    """Return how far apart two findings lie, 1 being the farthest that is still the same; infinity where they can't
    be the same."""
    a, b = first.place, second.place
    if isinstance(a, PatientPlace) and isinstance(b, PatientPlace):
        same_frame = a.frame_of_reference_uid == b.frame_of_reference_uid
        return _distance(a.position_lps_mm, b.position_lps_mm) / SAME_MM if same_frame else np.inf
    if isinstance(a, ImagePlace) and isinstance(b, ImagePlace):
        same_image = (a.sop_instance_uid, a.frame) == (b.sop_instance_uid, b.frame)
        return _distance((a.column, a.row), (b.column, b.row)) / SAME_PIXELS if same_image else np.inf
    return 0.0 if a.type == b.type == "study" and first.code == second.code else np.inf


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.linalg.norm(np.subtract(a, b)))


def _kappa(pairs: Sequence[Pair]) -> Estimate | None:
    from readingroom.evaluation.agreement import cohen_kappa

    try:
        return cohen_kappa(
            np.array([p.live_findings > 0 for p in pairs]), np.array([p.shadow_findings > 0 for p in pairs])
        )
    except ValueError:
        return None


def _correlation(scores: Sequence[tuple[float, float]]) -> float | None:
    if len(scores) < FEWEST_SCORES:
        return None
    from scipy import stats

    value = float(stats.spearmanr(*np.array(scores).T).statistic)
    return value if np.isfinite(value) else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
