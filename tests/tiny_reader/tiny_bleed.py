"""A reader of a package of its own whose finding is urgent: for tests of triage.

Blood is what has exactly 70 HU on a head CT: simulated heads have it where a test wants it, and no noise.
"""

import numpy as np

from readingroom.core.ids import sha256_hex
from readingroom.findings.model import Code, Evidence, Finding, PatientPlace, SegmentMask
from readingroom.readers.contract import Applicability, Card, Progress, ReadingOutput, ReadingRequest, TypedSeries

BLOOD_HU = 70
HEMORRHAGE = Code(value="1386000", scheme="SCT", meaning="Intracranial hemorrhage")

CARD = Card(
    name="tiny-bleed",
    version="1.0.0",
    title="Blood in made-up heads (test reader)",
    question="Is there blood in the head?",
    takes="Head CT",
    finds=(HEMORRHAGE,),
    evidence_level=0,
    evidence="None: a test reader.",
    operating_point=0.5,
    limits=("For tests only.",),
    weights_licence="no weights",
    data=("none",),
    metrics={"sensitivity": {"value": 0.88}, "specificity": {"value": 0.93}},
)


class TinyBleed:
    card = CARD

    @property
    def weights_sha256(self) -> str:
        return ""

    @property
    def configuration_sha256(self) -> str:
        return sha256_hex("tiny-bleed", CARD.version)

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        usable = [s for s in series if s.type.kind == "ct-volume" and s.type.region == "head"]
        if not usable:
            return Applicability(applies=False, reason="There is no head CT in this study.")
        chosen = (usable[0].series_instance_uid,)
        return Applicability(applies=True, reason="There is a head CT.", series_instance_uids=chosen)

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        volume = request.series[0].volume
        if volume is None:
            return ReadingOutput(abstained="The series gave no volume.")
        progress("look", 0.5)
        blood = volume.array == BLOOD_HU
        if not blood.any():
            return ReadingOutput()
        at = np.argwhere(blood)
        low, high = at.min(axis=0), at.max(axis=0) + 1
        x, y, z = (round(float(value), 3) for value in volume.to_lps(at.mean(axis=0)))
        finding = Finding(
            id="blood",
            code=HEMORRHAGE,
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            probability=0.91,
            evidence=Evidence(rule=f"Voxels of {BLOOD_HU} HU."),
            segment="blood",
            series_instance_uid=volume.series_instance_uid,
        )
        mask = SegmentMask(
            volume.series_instance_uid,
            (int(low[0]), int(low[1]), int(low[2])),
            blood[tuple(slice(a, b) for a, b in zip(low, high, strict=True))],
            volume.sop_instance_uids[int(low[0]) : int(high[0])],
        )
        return ReadingOutput((finding,), {"blood": mask})
