"""Which finding of an earlier study is which finding of now.

By tracking UID first. Else by place: on one side, of one kind of thing. Patient coordinates of two studies share no
origin unless their frame of reference is one; so one shift between the studies is looked for, the one under which most
findings meet. Where none meet, nothing can be told, and nothing is called new.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from readingroom.findings.model import Earlier, Finding, LpsPoint, PatientPlace
from readingroom.findings.rules.facts import mean_diameter_mm

NEAR_MM = 15.0
"""Breathing moves a nodule by about so much between two scans at full inspiration."""
SHIFT_MM = (40.0, 40.0, 60.0)
"""Farthest a patient lies from where they lay before, LPS, when one or two findings are all that meet."""
ENOUGH = 3
"""So many findings that meet under one shift prove it, however far along the body it is."""
SIZE_RATIO = 3.0
"""Two marks whose diameters differ more are taken for two things."""


class Prior(Protocol):
    """An earlier study (``readers.contract.PriorReading``)."""

    @property
    def days_before(self) -> int: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...


def followed(findings: Sequence[Finding], priors: Sequence[Prior]) -> tuple[Finding, ...]:
    """Return the findings with ``earlier`` filled, latest first, and the tracking identifiers of the latest match.

    One entry per prior and finding: ``found`` True with what it was then, False where that study was read without it,
    None where the two studies could not be laid over each other.
    """
    earlier: list[list[Earlier]] = [[] for _ in findings]
    tracked: list[tuple[str, str] | None] = [None] * len(findings)
    for prior in sorted(priors, key=lambda one: one.days_before):
        matches, comparable = _match(findings, prior.findings)
        for index in range(len(findings)):
            then = matches.get(index)
            if then is None:
                earlier[index].append(Earlier(days_before=prior.days_before, found=False if comparable else None))
                continue
            same_uid = bool(then.tracking_uid) and then.tracking_uid == findings[index].tracking_uid
            earlier[index].append(
                Earlier(
                    days_before=prior.days_before,
                    found=True,
                    matched_by="tracking-uid" if same_uid else "position",
                    measurements=then.measurements,
                    characteristics=then.characteristics,
                    axes=then.axes,
                    assessments=then.assessments,
                )
            )
            if tracked[index] is None and then.tracking_uid:
                tracked[index] = (then.tracking_id, then.tracking_uid)
    return tuple(
        finding.model_copy(
            update={
                "earlier": tuple(earlier[index]),
                **({"tracking_id": named[0], "tracking_uid": named[1]} if (named := tracked[index]) else {}),
            }
        )
        for index, finding in enumerate(findings)
    )


def _match(now: Sequence[Finding], then: Sequence[Finding]) -> tuple[dict[int, Finding], bool]:
    """Return index of now -> finding of then, and whether what found no partner is thereby absent."""
    matches: dict[int, Finding] = {}
    left = list(then)
    for index, finding in enumerate(now):
        same = next((one for one in left if finding.tracking_uid and one.tracking_uid == finding.tracking_uid), None)
        if same is not None:
            matches[index] = same
            left.remove(same)
    rest = [index for index in range(len(now)) if index not in matches]
    if not rest or not left:
        return matches, True
    shift = _shift([now[index] for index in rest], left)
    if shift is None:
        return matches, bool(matches)
    pairs = sorted(
        (distance, index, number)
        for index in rest
        for number, one in enumerate(left)
        if (distance := _apart(now[index], one, shift)) <= NEAR_MM
    )
    taken: set[int] = set()
    for _, index, number in pairs:
        if index not in matches and number not in taken:
            matches[index] = left[number]
            taken.add(number)
    return matches, True


def _shift(now: Sequence[Finding], then: Sequence[Finding]) -> LpsPoint | None:
    """Return the shift from then to now, LPS mm; None where none fits."""
    if _one_frame(now, then):
        return 0.0, 0.0, 0.0
    best: tuple[int, float, LpsPoint] | None = None
    for finding in now:
        for one in then:
            if not isinstance(finding.place, PatientPlace) or not isinstance(one.place, PatientPlace):
                continue
            if not _alike(finding, one):
                continue
            a, b = finding.place.position_lps_mm, one.place.position_lps_mm
            shift = (a[0] - b[0], a[1] - b[1], a[2] - b[2])
            met = sum(any(_apart(f, o, shift) <= NEAR_MM for o in then) for f in now)
            close = all(abs(s) <= most for s, most in zip(shift, SHIFT_MM, strict=True))
            size = math.hypot(*shift)
            if (close or met >= ENOUGH) and (best is None or (met, -size) > (best[0], -best[1])):
                best = (met, size, shift)
    return best[2] if best else None


def _one_frame(now: Sequence[Finding], then: Sequence[Finding]) -> bool:
    frames = [
        {one.place.frame_of_reference_uid for one in some if isinstance(one.place, PatientPlace)}
        for some in (now, then)
    ]
    return bool(frames[0]) and frames[0] == frames[1] and len(frames[0]) == 1


def _apart(finding: Finding, one: Finding, shift: LpsPoint) -> float:
    if not isinstance(finding.place, PatientPlace) or not isinstance(one.place, PatientPlace):
        return math.inf
    if not _alike(finding, one):
        return math.inf
    moved = [value + s for value, s in zip(one.place.position_lps_mm, shift, strict=True)]
    return math.dist(finding.place.position_lps_mm, moved)


def _alike(finding: Finding, one: Finding) -> bool:
    if finding.code.value != one.code.value:
        return False
    sides = [f.side.value for f in (finding, one) if f.side is not None and f.side.value is not None]
    if len(sides) == 2 and sides[0] != sides[1]:
        return False
    sizes = [size for f in (finding, one) if (size := mean_diameter_mm(f))]
    return len(sizes) < 2 or max(sizes) <= SIZE_RATIO * min(sizes)
