"""The same nodule in an earlier study, and how it has changed.

Volume doubling time after Schwartz 1961 (Cancer 14:1272): ``days * ln 2 / ln(V2 / V1)``. A change of volume within 25
% is within what repeated measurement gives (Bankier 2017, Radiology 285:584) and is called stable; where no volume is
known, a mean diameter more than 1.5 mm larger is growth (Lung-RADS v2022).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from readingroom.findings.codes import code
from readingroom.findings.model import Finding

VOLUME_SHARE = 0.25
GROWTH_MM = 1.5
GROWTH_DAYS = 400
"""Lung-RADS counts growth within 12 months; a screening round may come some weeks late."""


class Earlier(Protocol):
    """An earlier reading: ``readers.contract.PriorReading``."""

    @property
    def days_before(self) -> int: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...


@dataclass(frozen=True)
class Change:
    """``doubling_days``: volume doubling time; None where it has not grown beyond error, or no volumes are known."""

    days: int
    volume_before_mm3: float | None
    volume_now_mm3: float | None
    diameter_before_mm: float | None
    diameter_now_mm: float | None
    doubling_days: float | None
    kind: Literal["growing", "stable", "shrinking"]


def measured(finding: Finding, name: str) -> float | None:
    """Return the measurement whose code has this short name, or None."""
    wanted = code(name)
    return next((m.value for m in finding.measurements if m.code == wanted), None)


def followed(findings: Iterable[Finding], priors: Iterable[Earlier]) -> Mapping[str, tuple[Finding, int]]:
    """Return finding id -> (the same lesion in the latest earlier reading that has it, days before), by tracking UID.

    Positions of two studies are not compared: without registration they mean nothing to each other.
    """
    out: dict[str, tuple[Finding, int]] = {}
    ordered = sorted(priors, key=lambda p: p.days_before)
    for finding in findings:
        if not finding.tracking_uid:
            continue
        for prior in ordered:
            same = next((f for f in prior.findings if f.tracking_uid == finding.tracking_uid), None)
            if same is not None:
                out[finding.id] = (same, prior.days_before)
                break
    return out


def change_since(before: Finding, now: Finding, days: int) -> Change | None:
    """Return how ``now`` differs from ``before``, ``days`` earlier; None where neither volumes nor diameters are
    known."""
    old_volume, new_volume = measured(before, "volume"), measured(now, "volume")
    old, new = measured(before, "diameter"), measured(now, "diameter")
    kind: Literal["growing", "stable", "shrinking"] = "stable"
    doubling = None
    if old_volume and new_volume:
        share = new_volume / old_volume - 1
        if share > VOLUME_SHARE:
            kind, doubling = "growing", float(days * np.log(2) / np.log(new_volume / old_volume))
        elif share < -VOLUME_SHARE:
            kind = "shrinking"
    elif old is not None and new is not None:
        kind = "growing" if new - old > GROWTH_MM else "shrinking" if old - new > GROWTH_MM else "stable"
    else:
        return None
    return Change(days, old_volume, new_volume, old, new, doubling, kind)
