"""A reader of a package of its own that gives everything a reader can give: for tests of what is made of it.

A nodule is each ball of voxels above 1300 HU, which no tissue is: simulated images have them where a test wants them.
Its characteristics, heat map, contributions and similar cases are made up; its sizes are measured, and Lung-RADS,
Fleischner and growth against priors come from the house's own rules.
"""

import numpy as np
from scipy import ndimage

from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import (
    Axis,
    Contribution,
    Evidence,
    Finding,
    Measurement,
    PatientPlace,
    SegmentMask,
    SimilarCase,
)
from readingroom.findings.rules import NoduleContext, assess, characteristic
from readingroom.imaging.volume import Volume
from readingroom.readers.contract import Applicability, Card, Progress, ReadingOutput, ReadingRequest, TypedSeries

DENSE_HU = 1300
MARGIN = 4
"""Voxels around the ball that its box, and so its heat map, has."""

CARD = Card(
    name="tiny-nodule",
    version="1.0.0",
    title="Dense balls (test reader)",
    question="Where are balls denser than any tissue?",
    takes="Any CT volume",
    finds=(code("nodule"),),
    context=("age_years", "priors"),
    evidence_level=0,
    evidence="None: a test reader.",
    operating_point=0.5,
    limits=("For tests only.",),
    weights_licence="no weights",
    data=("none",),
)


class TinyNodule:
    card = CARD

    @property
    def weights_sha256(self) -> str:
        return ""

    @property
    def configuration_sha256(self) -> str:
        return sha256_hex("tiny-nodule", CARD.version)

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        usable = [s for s in series if s.type.kind == "ct-volume"]
        if not usable:
            return Applicability(applies=False, reason="There is no CT volume in this study.")
        chosen = (usable[0].series_instance_uid,)
        return Applicability(applies=True, reason="There is a CT volume.", series_instance_uids=chosen)

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        volume = request.series[0].volume
        if volume is None:
            return ReadingOutput(abstained="The series gave no volume.")
        labels, count = ndimage.label(volume.array > DENSE_HU)
        findings, segments, heat_maps = [], {}, {}
        for number in range(1, count + 1):
            ball = labels == number
            finding, segment, heat = _nodule(number, ball, volume)
            findings.append(finding)
            segments[finding.segment], heat_maps[finding.evidence.heat_map] = segment, heat
        progress("assess", 0.9)
        done = assess(findings, NoduleContext(age_years=request.context.age_years), request.priors)
        return ReadingOutput(done.findings, segments, heat_maps, assessments=done.study)


def _nodule(number: int, ball: np.ndarray, volume: Volume) -> tuple[Finding, SegmentMask, np.ndarray]:
    at = np.argwhere(ball)
    low = np.maximum(at.min(axis=0) - MARGIN, 0)
    high = np.minimum(at.max(axis=0) + MARGIN + 1, ball.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    middle = at.mean(axis=0)
    ends = np.array([at.min(axis=0) - 0.5, at.max(axis=0) + 0.5])
    axes = tuple(
        Axis(
            role=role, start_lps_mm=_lps(volume, middle, axis, ends[0]), end_lps_mm=_lps(volume, middle, axis, ends[1])
        )
        for role, axis in (("long", 2), ("short", 1))
    )
    name = f"ball-{number}"
    # Hottest at one side, and beyond the ball: where a network looks is not where the finding ends.
    grid = np.moveaxis(np.indices(tuple(high - low)), 0, -1) + low
    away = np.linalg.norm((grid - middle - np.array([0, 0, 2])) * np.array(volume.spacing_mm), axis=-1)
    heat = np.exp(-((away / (2 + away.max() / 2)) ** 2)).astype(np.float32)
    finding = Finding(
        id=name,
        code=code("nodule"),
        site=code("lung"),
        place=PatientPlace(
            frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=_lps(volume, middle, 0, middle)
        ),
        probability=round(1 - 1 / (1 + float(np.ptp(ends[:, 2])) / 2), 2),
        measurements=(
            Measurement(
                code=code("volume"),
                value=float(ball.sum() * np.prod(volume.spacing_mm)),
                unit=code("mm3"),
                method="voxel count",
            ),
        ),
        axes=axes,
        characteristics=(
            characteristic("density-type", "solid", 0.91),
            characteristic("spiculation", "present", 0.34),
            characteristic("margins", "smooth", 0.72),
        ),
        evidence=Evidence(
            contributions=(
                Contribution(feature="where the score starts from", value=None, weight=-2.0),
                Contribution(feature="size: mean diameter in mm", value=float(np.ptp(ends[:, 2])), weight=2.4),
                Contribution(feature="roundness, 0 to 1", value=0.8, weight=1.1),
                Contribution(feature="vessel beside it, 0 to 1", value=0.3, weight=-0.6),
            ),
            rule="A ball denser than any tissue.",
            heat_map=f"{name}-heat",
            similar=(
                SimilarCase(case="made-up-017", distance=0.31, description="solid nodule of 9 mm, called benign"),
                SimilarCase(case="made-up-142", distance=0.58, description="solid nodule of 12 mm, called malignant"),
            ),
        ),
        segment=name,
        series_instance_uid=volume.series_instance_uid,
    )
    offset = (int(low[0]), int(low[1]), int(low[2]))
    images = volume.sop_instance_uids[offset[0] : int(high[0])]
    return finding, SegmentMask(volume.series_instance_uid, offset, ball[box], images), heat


def _lps(volume: Volume, middle: np.ndarray, axis: int, end: np.ndarray) -> tuple[float, float, float]:
    """Return the point of ``middle`` with the index of ``axis`` taken from ``end``, LPS mm."""
    index = middle.astype(float)
    index[axis] = end[axis]
    x, y, z = (round(float(value), 3) for value in volume.to_lps(index))
    return x, y, z
