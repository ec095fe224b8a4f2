"""The reader ``alzheimer``: FreeSurfer's measures that came with a study, against norms for age, sex and head size.

It reads numbers, not images: a structured report with FreeSurfer's volumes and thicknesses (``readingroom norms
--dicom`` makes one). Volumes of other readers have other borders (the hippocampus of ``hippocampus`` is that of the
Medical Segmentation Decathlon) and no head size: a z of theirs would be false, so there is none.
"""

import json
from pathlib import Path

import numpy as np

from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code, own
from readingroom.findings.model import Evidence, Finding, Measurement, StudyPlace
from readingroom.readers.alzheimer.assess import HERE, Answer, Assessor, Region
from readingroom.readers.alzheimer.dementia import LARGEST_Z, YOUNGEST
from readingroom.readers.alzheimer.norms import LEAST_SPREAD
from readingroom.readers.alzheimer.regions import LARGEST, freesurfer_names
from readingroom.readers.contract import Applicability, Progress, ReadingOutput, ReadingRequest, TypedSeries

SHOWN = {
    "Left-Hippocampus": "z-hippocampus-l", "Right-Hippocampus": "z-hippocampus-r",
    "Hippocampus asymmetry": "z-hippocampus-as", "Lateral-Ventricle": "z-ventricles", "BrainSegVolNotVent": "z-brain",
    "entorhinal_thickness": "z-entorhinal", "MeanThickness_thickness": "z-cortex",
}  # fmt: skip
"""What stands in the reading, and the value of its code; all regions are on the page."""
NOTES = (
    "A pattern in measures, not a diagnosis: other diseases, and FreeSurfer's errors, look the same.",
    "Contributions are in log-odds; with the start they sum to the log-odds of the probability.",
)


class AlzheimerReader(Assessor):
    """Version 1: see ``card.yaml``."""

    def __init__(self, folder: Path = HERE) -> None:
        super().__init__(folder)
        self.folder = folder
        log = json.loads((folder / "weights" / "training.json").read_text("utf-8"))
        self._abstain_above = float(log["domain"]["abstain_above"])

    @property
    def weights_sha256(self) -> str:
        return self.card.weights_sha256

    @property
    def configuration_sha256(self) -> str:
        settings = (self.card.version, YOUNGEST, LARGEST_Z, LARGEST, LEAST_SPREAD, SHOWN, self._abstain_above)
        return sha256_hex(json.dumps(settings), self.weights_sha256)

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        found = [s for s in series if freesurfer_names(s.measured)]
        if not found:
            return Applicability(
                applies=False,
                reason="No FreeSurfer measures came with this study, and there is no norm for other definitions.",
            )
        uids = tuple(s.series_instance_uid for s in found)
        return Applicability(applies=True, reason="FreeSurfer measures.", series_instance_uids=uids)

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        measured: dict[str, float] = {}
        for series in request.series:
            for name, value in freesurfer_names(series.measured).items():
                if abs(measured.setdefault(name, value) - value) > 0.01 * value:
                    return ReadingOutput(abstained="Two FreeSurfer reports of this study disagree.")
        answer = self.assess(measured, request.context.age_years, request.context.sex)
        progress("norms", 0.9)
        if not answer.regions:
            return ReadingOutput(abstained=" ".join(answer.notes))
        away = unlike(answer.regions)
        if away > self._abstain_above:
            return ReadingOutput(
                abstained=f"The measures are unlike anybody's (score {away:.1f}): are they in another unit or space?",
                out_of_domain_score=round(away, 3),
            )
        return ReadingOutput(
            findings=self._findings(answer, request),
            study_measurements=tuple(_measurement(one) for one in answer.regions if one.name in SHOWN),
            out_of_domain_score=round(away, 3),
            input_statistics={"regions": float(len(answer.regions))},
        )

    def _findings(self, answer: Answer, request: ReadingRequest) -> tuple[Finding, ...]:
        point = self.dementia.operating_point
        if answer.probability is None or answer.probability < point:
            return ()
        rule = (
            f"Its probability is at or above the reader's operating point, {point:.0%}, in a group of whom "
            f"{answer.prevalence:.0%} have dementia (CDR above 0), as among those it learnt from."
        )
        return (
            Finding(
                id="dementia-pattern",
                code=own("dementia-pattern", "Pattern of volumes as in dementia"),
                place=StudyPlace(),
                probability=answer.probability,
                evidence=Evidence(contributions=answer.contributions, rule=rule, notes=(*NOTES, *answer.notes)),
                series_instance_uid=request.series[0].series_instance_uid,
            ),
        )


def unlike(regions: tuple[Region, ...]) -> float:
    """Return how unlike anybody the measures are: the median of |z|, that no disease moves far."""
    return float(np.median([abs(region.z) for region in regions]))


def _measurement(region: Region) -> Measurement:
    return Measurement(
        code=own(SHOWN[region.name], f"z of {region.words}"),
        value=region.z,
        unit=code("unity"),
        method=f"{region.value:g} {region.unit}; 95% interval of z {region.low:.2f} to {region.high:.2f}; "
        f"{region.percentile:.0f}th percentile of controls",
    )
