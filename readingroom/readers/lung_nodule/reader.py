"""The reader ``lung-nodule``: which series it reads, when it abstains, and how marks become findings."""

import json
from pathlib import Path

import numpy as np

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, PatientPlace, SegmentMask
from readingroom.findings.side import Anatomy, look, side_of
from readingroom.imaging.volume import Volume
from readingroom.inference.calibration import read_calibration
from readingroom.inference.session import Model, checked_bytes
from readingroom.readers.contract import Applicability, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.lung_nodule import candidates, detect, domain, explain, features, lungs, measure, segment
from readingroom.readers.lung_nodule.grid import Grid, resample, slice_positions, to_lps
from readingroom.readers.registry import load_card

HERE = Path(__file__).parent
MAX_SLICE_MM = 5.0
MAX_GAP_MM = 10.0
MIN_COVER_MM = 100.0
MIN_LITRES, MAX_LITRES = 0.8, 12.0
STEP_MM = 1.0


class LungNoduleReader:
    """Version 1: see ``card.yaml``. ``folder`` holds the card and ``weights``; tests give their own."""

    def __init__(self, folder: Path = HERE) -> None:
        """Load card and weights. Raises BadInput where a weights file isn't the one the card names."""
        self.card = load_card(folder / "card.yaml")
        weights, named = folder / "weights", self.card.weights
        missing = {"model.onnx", "calibration.json", "baseline.json", "domain.json"} - set(named)
        if missing or self.card.operating_point is None:
            raise BadInput("The card names no operating point or not all weights.")
        self._model = Model(weights / "model.onnx", named["model.onnx"])
        self._calibration = read_calibration(checked_bytes(weights / "calibration.json", named["calibration.json"]))
        baseline = json.loads(checked_bytes(weights / "baseline.json", named["baseline.json"]))
        self._domain = json.loads(checked_bytes(weights / "domain.json", named["domain.json"]))
        if baseline["names"] != features.NAMES or self._model.width != len(features.NAMES):
            raise BadInput("The weights were made for other features than this version computes.", "Train again.")
        self._baseline = np.array(baseline["values"], np.float32)
        self._operating_point = self.card.operating_point

    @property
    def weights_sha256(self) -> str:
        return sha256_hex(*(text for pair in sorted(self.card.weights.items()) for text in pair))

    @property
    def configuration_sha256(self) -> str:
        settings = (
            self.card.version, self._operating_point, MAX_SLICE_MM, MAX_GAP_MM, MIN_COVER_MM, MIN_LITRES, MAX_LITRES,
            STEP_MM, lungs.AIR_HU, lungs.CLOSING_MM, candidates.SIGMAS, candidates.MIN_BLOB_HU,
            candidates.MIN_LAPLACE_HU, candidates.MAX_PER_LITRE, detect.APART_MM, detect.MOST, segment.EDGE,
            segment.OPENING, segment.BALL, segment.LARGEST_RADIUS, features.NAMES,
        )  # fmt: skip
        return sha256_hex(json.dumps(settings), self.weights_sha256)

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Raw scores of feature rows ``(n, f)``, log-odds before calibration."""
        return self._model.run(rows)[:, 0].astype(np.float64)

    def marks(self, hu: np.ndarray, inside: np.ndarray, probability: float | None = None) -> list[detect.Mark]:
        """Marks of at least ``probability`` (the operating point where None) in a 1 mm grid with its lung mask."""
        wanted = self._operating_point if probability is None else probability
        # Calibration rises with the score: the threshold on the score is found once, by its inverse.
        c = self._calibration
        threshold = (np.log(wanted / (1 - wanted)) - c.offset - c.prior_shift) / max(c.slope, 1e-9)
        return detect.find_marks(hu, inside, self.score, float(threshold) - 1e-9)

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of raw scores."""
        return self._calibration.probability(scores)

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

        found = lungs.find_lungs(resample(volume, 2 * STEP_MM).hu, 2 * STEP_MM, _top_first(volume))
        sizes = [detect.litres(m, 2 * STEP_MM) for m in found.masks]
        lap("lungs", 0.2)
        if found.problem:
            return ReadingOutput(abstained=f"This does not look like a whole chest: {found.problem}.", seconds=seconds)
        if not MIN_LITRES <= sum(sizes) <= MAX_LITRES:
            return ReadingOutput(
                abstained=f"The lungs found hold {sum(sizes):.1f} l, outside {MIN_LITRES:g} to {MAX_LITRES:g}.",
                seconds=seconds,
            )
        grid, inside = lungs.working_grid(volume, found.together)
        away = domain.describe(grid.hu, inside)
        lap("grid", 0.3)
        marks = self.marks(grid.hu, inside)
        lap("candidates", 0.8)
        anatomy = look(volume) if marks else None
        reported = [self._finding(n, mark, grid, series, volume, anatomy) for n, mark in enumerate(marks, 1)]
        lap("findings", 1.0)
        statistics: dict[str, float | str] = {
            name: round(float(value), 4) for name, value in zip(domain.NAMES, away, strict=True)
        }
        statistics |= {"lung_litres": round(sum(sizes), 3), "candidates_reported": float(len(marks))}
        return ReadingOutput(
            findings=tuple(f for f, _ in reported),
            segments={f.segment: mask for f, mask in reported},
            out_of_domain_score=round(domain.distance(self._domain, away), 3),
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
    ) -> tuple[Finding, SegmentMask]:
        source = measure.on_source(mark.segment, grid, volume.array.shape)
        axes = measure.axes_of(source, volume)
        x, y, z = (round(float(c), 3) for c in to_lps(volume, grid.to_source(mark.index)))
        name = f"nodule-{number}"
        slices = slice(source.offset[0], source.offset[0] + source.mask.shape[0])
        why = explain.contributions(mark.row, self._baseline, lambda rows: self._calibration.log_odds(self.score(rows)))
        finding = Finding(
            id=name,
            code=code("nodule"),
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            probability=round(float(self.probability(np.array(mark.score))), 4),
            measurements=measure.measurements_of(source, volume, axes),
            axes=axes,
            side=side_of((x, y, z), volume, series.headers, anatomy),
            site=code("lung"),
            evidence=Evidence(
                contributions=why,
                rule=f"Its probability is at or above the reader's operating point, {self._operating_point:.1%}.",
                notes=(
                    "Contributions are Shapley values in log-odds over groups of features; with the baseline they sum "
                    "to the log-odds of the probability.",
                    f"Segment: above {mark.segment.threshold_hu:.0f} HU, vessels cut off by opening.",
                ),
            ),
            segment=name,
            series_instance_uid=volume.series_instance_uid,
        )
        mask = SegmentMask(volume.series_instance_uid, source.offset, source.mask, volume.sop_instance_uids[slices])
        return finding, mask


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


def _top_first(volume: Volume) -> bool:
    """Whether slice 0 is the one nearest the head (LPS z rises towards it)."""
    return float(volume.affine[2, 2]) < 0
