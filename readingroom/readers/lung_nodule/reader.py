"""The reader ``lung-nodule``: which series it reads, when it abstains, and how marks become findings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import (
    Characteristic,
    Evidence,
    Finding,
    Measurement,
    PatientPlace,
    SegmentMask,
)  # fmt: skip
from readingroom.findings.rules import NoduleContext, assess
from readingroom.findings.side import Anatomy, look, side_of
from readingroom.imaging.volume import Volume
from readingroom.inference.calibration import read_calibration
from readingroom.inference.session import Model, checked_bytes
from readingroom.readers.contract import Applicability, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.lung_nodule import (
    candidates,
    characterise,
    dense,
    detect,
    domain,
    explain,
    features,
    lungs,
    malignancy,
    measure,
    patches,
    similar,
)  # fmt: skip
from readingroom.readers.lung_nodule.card import WEIGHTS
from readingroom.readers.lung_nodule.grid import Grid, slice_positions
from readingroom.readers.registry import load_card

HERE = Path(__file__).parent
MAX_SLICE_MM = 5.0
MAX_GAP_MM = 10.0
MIN_COVER_MM = 100.0
MIN_LITRES, MAX_LITRES = 0.8, 12.0
STEP_MM = 1.0


class LungNoduleReader:
    """Version 2: see ``card.yaml``. ``folder`` holds the card and ``weights``; tests give their own."""

    def __init__(self, folder: Path = HERE) -> None:
        """Load card and weights. Raises BadInput where a weights file isn't the one the card names."""
        self.card = load_card(folder / "card.yaml")
        weights, named = folder / "weights", self.card.weights
        missing = set(WEIGHTS) - set(named)
        if missing or self.card.operating_point is None:
            raise BadInput("The card names no operating point or not all weights.")

        def kept(name: str) -> bytes:
            return checked_bytes(weights / name, named[name])

        self._first = Model(weights / "model.onnx", named["model.onnx"])
        self._network = Model(weights / "network.onnx", named["network.onnx"])
        self._calibration = read_calibration(kept("calibration.json"))
        self._weighing = detect.read_weighing(kept("weighing.json"))
        self._characteristics = characterise.read_characteristics(kept("characteristics.json"))
        self._malignancy = malignancy.read_malignancy(kept("malignancy.json"))
        self._cases = similar.read_cases(kept("cases.json"))
        self._domain = domain.read_lung_domain(kept("domain.json"))
        baseline = json.loads(kept("baseline.json"))
        if baseline["names"] != features.NAMES or self._first.width != len(features.NAMES):
            raise BadInput("The weights were made for other features than this version computes.", "Train again.")
        if self._network.outputs != detect.OUTPUTS:
            raise BadInput("The network gives other outputs than this version reads.", "Train again.")
        self._explain = explain.Explanation(
            np.array(baseline["values"], np.float32), float(baseline["second"]), self._weighing, self._calibration,
            self.first,
        )  # fmt: skip
        self._operating_point = self.card.operating_point

    @property
    def weights_sha256(self) -> str:
        return self.card.weights_sha256

    @property
    def configuration_sha256(self) -> str:
        settings = (
            self.card.version, self._operating_point, MAX_SLICE_MM, MAX_GAP_MM, MIN_COVER_MM, MIN_LITRES, MAX_LITRES,
            STEP_MM, dense.settings(), lungs.AIR_HU, lungs.CLOSING_MM, candidates.SIGMAS, candidates.MIN_BLOB_HU,
            candidates.MIN_LAPLACE_HU, candidates.MAX_PER_LITRE, detect.LOOKED_PER_LITRE, detect.LOOKED_AT_LEAST,
            detect.APART_MM, detect.MOST, patches.WIDE_SIGMA, patches.WIDE_MM, patches.LOW_HU, patches.HIGH_HU,
            features.NAMES, characterise.SOLID_HU, characterise.CALCIFIED_HU, characterise.CALCIFIED_SHARE,
            similar.SHOWN, domain.UNITS,
        )  # fmt: skip
        return sha256_hex(json.dumps(settings), self.weights_sha256)

    def first(self, rows: np.ndarray) -> np.ndarray:
        """The first look's raw scores of feature rows ``(n, f)``, log-odds."""
        (scores,) = self._first.run(rows).values()
        return scores[:, 0].astype(np.float64)

    def look(self, hu: np.ndarray, inside: np.ndarray) -> detect.Looked | None:
        """What both looks say of the candidates in a 1 mm grid with its lung mask."""
        return detect.look(hu, inside, self.first, self._network.run)

    def unlike(self, hu: np.ndarray, aerated: np.ndarray, looked: detect.Looked | None) -> domain.Unlike:
        """How unlike the training images the same image is, by its ``aerated`` lung and by what was looked at."""
        return self._domain.judge(hu, aerated, looked)

    def marks(
        self, looked: detect.Looked | None, shape: tuple[int, ...], probability: float | None = None
    ) -> list[detect.Mark]:
        """Marks of at least ``probability`` (the operating point where None) among what was looked at; ``shape``: of
        the grid."""
        wanted = self._operating_point if probability is None else probability
        # Calibration rises with the score: the threshold on the score is found once, by its inverse.
        c = self._calibration
        threshold = (np.log(wanted / (1 - wanted)) - c.offset - c.prior_shift) / max(c.slope, 1e-9)
        return detect.marks_of(looked, self._weighing, shape, float(threshold) - 1e-9)

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of raw scores."""
        return self._calibration.probability(scores)

    def suspicion(self, diameter_mm: float, ratings: Mapping[str, float], calcified: bool) -> float:
        """Probability that readers find a nodule suspicious. ``diameter_mm``: of the ball of its volume."""
        return self._malignancy.probability(diameter_mm, ratings, calcified)

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        volumes = [s for s in series if s.type.modality == "CT" and s.type.kind == "ct-volume"]
        chest = [s for s in volumes if s.type.region in ("chest", "")]
        if not volumes:
            return Applicability(applies=False, reason="There is no CT volume in this study.")
        if not chest:
            return Applicability(applies=False, reason="No CT volume in this study shows the chest.")
        axial = [s for s in chest if s.type.plane in ("axial", "")]
        if not axial:
            return Applicability(applies=False, reason="No chest CT in this study is axial.")
        sound = [s for s in axial if not any(p.fatal for p in s.problems)]
        if not sound:
            codes = sorted({p.code for s in axial for p in s.problems if p.fatal})
            return Applicability(applies=False, reason=f"No volume can be made of the chest CT: {', '.join(codes)}.")
        best = min(sound, key=_preference)
        reason = "Chest CT." if best.type.region else "CT of an unknown region: the reader looks for lungs itself."
        return Applicability(applies=True, reason=reason, series_instance_uids=(best.series_instance_uid,))

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        series = request.series[0]
        volume = series.volume
        why_not = _unfit(volume)
        if why_not or volume is None:
            return ReadingOutput(abstained=why_not)
        seconds: dict[str, float] = {}
        clock = monotonic()

        def lap(step: str, fraction: float) -> None:
            nonlocal clock
            seconds[step] = round(monotonic() - clock, 3)
            clock = monotonic()
            progress(step, fraction)

        whole = dense.whole_lungs(volume, 2 * STEP_MM)
        found = whole.aerated
        sizes = [detect.litres(m, 2 * STEP_MM) for m in found.masks]
        lap("lungs", 0.2)
        if found.problem:
            return ReadingOutput(abstained=f"This does not look like a whole chest: {found.problem}.", seconds=seconds)
        if not MIN_LITRES <= sum(sizes) <= MAX_LITRES:
            return ReadingOutput(
                abstained=f"The lungs found hold {sum(sizes):.1f} l, outside {MIN_LITRES:g} to {MAX_LITRES:g}.",
                seconds=seconds,
            )
        # Searched is what holds air: in fluid every edge would be a mark.
        grid, inside = lungs.working_grid(volume, found.together)
        lap("grid", 0.3)
        looked = self.look(grid.hu, inside)
        lap("candidates", 0.8)
        unlike = self.unlike(grid.hu, inside, looked)
        statistics: dict[str, float | str] = dict(unlike.statistics)
        statistics["lung_litres"] = round(sum(sizes), 3)
        score = round(unlike.score, 3)
        if unlike.reason:
            return ReadingOutput(
                abstained=unlike.reason, out_of_domain_score=score, input_statistics=statistics, seconds=seconds
            )
        marks = self.marks(looked, grid.hu.shape)
        anatomy = look(volume) if marks else None
        reported = [
            self._finding(n, mark, grid, series, volume, anatomy, whole.said) for n, mark in enumerate(marks, 1)
        ]
        # Lung-RADS 0: part of the lungs cannot be evaluated.
        context = NoduleContext(age_years=request.context.age_years, incomplete=request.partial or bool(whole.said))
        assessed = assess([r.finding for r in reported], context, request.priors)
        lap("findings", 1.0)
        statistics["candidates_reported"] = float(len(marks))
        statistics |= {f"dense_ml_{side}": whole.dense_ml.get(side, 0.0) for side in dense.SIDES}
        return ReadingOutput(
            findings=assessed.findings,
            segments={r.finding.segment: r.mask for r in reported},
            heat_maps={r.finding.evidence.heat_map: r.heat_map for r in reported},
            study_measurements=tuple(
                Measurement(code=code(f"airless-{side}"), value=ml, unit=code("cm3"), method=dense.METHOD)
                for side, ml in whole.dense_ml.items()
            ),
            assessments=assessed.study,
            out_of_domain_score=score,
            input_statistics=statistics,
            seconds=seconds,
        )

    def _finding(
        self,
        number: int,
        mark: detect.Mark,
        grid: Grid,
        series: TypedSeries,
        volume: Volume,
        anatomy: Anatomy | None,
        limits: tuple[str, ...],
    ) -> "_Reported":
        source = measure.on_source(mark.segment, grid, volume.array.shape)
        axes = measure.axes_of(source, volume)
        x, y, z = (round(float(c), 3) for c in volume.to_lps(grid.to_source(mark.index)))
        name = f"nodule-{number}"
        slices = slice(source.offset[0], source.offset[0] + source.mask.shape[0])
        sizes = measure.measurements_of(source, volume, axes)
        said = self._characteristics_of(mark, source, volume)
        finding = Finding(
            id=name,
            code=code("nodule"),
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            probability=round(float(self.probability(np.array(mark.score))), 4),
            measurements=(*sizes, *_solid_part(said, source, volume)),
            characteristics=said,
            axes=axes,
            side=side_of((x, y, z), volume, series.headers, anatomy),
            site=code("lung"),
            evidence=Evidence(
                contributions=self._explain.contributions(mark),
                rule=f"Its probability is at or above the reader's operating point, {self._operating_point:.1%}.",
                heat_map=f"heat-{number}",
                similar=self._cases.nearest(mark.features),
                notes=(
                    "Contributions are Shapley values in log-odds over groups of features of the first look, and what "
                    "the network added; with the baseline they sum to the log-odds of the probability.",
                    "The heat map shows where the network found what speaks for a nodule, not where its edge is.",
                    "Impression of malignancy: how radiologists rated nodules like it, not a diagnosis.",
                    "Segment: the network's." if mark.segment.sure else "Segment: unsure, the network drew no edge.",
                    *limits,
                ),
            ),
            segment=name,
            series_instance_uid=volume.series_instance_uid,
        )
        mask = SegmentMask(volume.series_instance_uid, source.offset, source.mask, volume.sop_instance_uids[slices])
        return _Reported(finding, mask, explain.heat_map(mark, grid, source))

    def _characteristics_of(
        self, mark: detect.Mark, source: measure.SourceMask, volume: Volume
    ) -> tuple[Characteristic, ...]:
        box = tuple(slice(o, o + n) for o, n in zip(source.offset, source.mask.shape, strict=True))
        lime = characterise.calcified(volume.array[box], source.mask)
        voxel_mm3 = float(np.prod(volume.spacing_mm))
        ball = float((6 * source.mask.sum() * voxel_mm3 / np.pi) ** (1 / 3))
        chance = round(self.suspicion(ball, mark.ratings, lime), 4)
        suspicion = Characteristic(concept=code("malignancy"), value=code("malignant"), probability=chance)
        return (*characterise.describe(mark.ratings, self._characteristics, lime), suspicion)


@dataclass(frozen=True, eq=False)
class _Reported:
    finding: Finding
    mask: SegmentMask
    heat_map: np.ndarray


def _solid_part(
    said: tuple[Characteristic, ...], source: measure.SourceMask, volume: Volume
) -> tuple[Measurement, ...]:
    """The mean diameter of the solid part of a part-solid nodule, where it has one."""
    if not any(c.concept == code("density-type") and c.value == code("part-solid") for c in said):
        return ()
    part = characterise.solid_part(volume.array, source)
    if part is None:
        return ()
    return (measure.diameter_of("solid-part-diameter", measure.axes_of(part, volume)),)


def _preference(series: TypedSeries) -> tuple[bool, float, str]:
    """A series known to be chest first, then thin slices, then the UID, so that the choice is always the same."""
    thickness = series.type.slice_thickness_mm
    return not series.type.region, thickness if thickness else 99.0, series.series_instance_uid


def _unfit(volume: Volume | None) -> str:
    """Why this volume can't be read, or nothing."""
    if volume is None:
        return "The series gave no volume."
    if volume.unit != "HU":
        return "The voxels are not in Hounsfield units."
    positions = slice_positions(volume)
    steps = np.diff(positions)
    if positions[-1] < MIN_COVER_MM:
        return f"The slices cover {positions[-1]:.0f} mm; a chest needs {MIN_COVER_MM:g} at least."
    if np.median(steps) > MAX_SLICE_MM + 0.01:
        return f"Slices are {np.median(steps):.1f} mm apart; at most {MAX_SLICE_MM:g} mm can be read."
    if steps.max() > MAX_GAP_MM:
        return f"There is a gap of {steps.max():.0f} mm between slices; at most {MAX_GAP_MM:g} mm can be bridged."
    normal = volume.affine[:3, 2] / volume.spacing_mm[0]
    if abs(float(normal[2])) < 0.9:
        return "The slices are not axial."
    return ""
