"""The reader ``head-ct-triage``: which series it reads, when it abstains, and how a look becomes a finding.

One finding, intracranial hemorrhage, of the scan as a whole, placed where the network saw most of it. What it says of
fractures is in shadow: kept among the input statistics for comparison, no finding, because it has not been shown to
beat the height of the slice.
"""

import json
import re
from pathlib import Path

import numpy as np

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import Characteristic, Evidence, Finding, PatientPlace, SegmentMask
from readingroom.findings.side import side_of
from readingroom.imaging.volume import Volume
from readingroom.inference.domain import read_domain
from readingroom.inference.session import Model, checked_bytes
from readingroom.readers.contract import Applicability, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.head_ct_triage import head, marks, picture, scores, shifts
from readingroom.readers.head_ct_triage.card import TOLD_MM, WEIGHTS
from readingroom.readers.head_ct_triage.look import OUTPUTS, Looked, look
from readingroom.readers.head_ct_triage.slices import CLASSES, TYPES
from readingroom.readers.registry import load_card

HERE = Path(__file__).parent
MAX_SLICE_MM = 7.0
MAX_GAP_MM = 12.0
MIN_COVER_MM = 95.0
TOP_SHARE = 0.75
"""The uppermost slice shows at most this share of the largest section where the scan reaches the crown."""
CUT_PIXELS = 8
"""Bone on so many pixels of the edge of the image: the head is cut."""
LIKELY = 0.5
"""A type of bleeding is said where it is at least so probable; the most probable one always."""
_SHARP = re.compile(r"bone|lung|edge|sharp|^[bhjui][rcvfp]?[6-9]\d", re.IGNORECASE)
"""Kernels for bone: their noise hides blood."""


class HeadCtTriageReader:
    """Version 1: see ``card.yaml``. ``folder`` holds the card and ``weights``; tests give their own."""

    def __init__(self, folder: Path = HERE) -> None:
        """Load card and weights. Raises BadInput where a weights file isn't the one the card names."""
        self.card = load_card(folder / "card.yaml")
        weights, named = folder / "weights", self.card.weights
        if set(WEIGHTS) - set(named) or self.card.operating_point is None:
            raise BadInput("The card names no operating point or not all weights.")
        self._trunk = Model(weights / "trunk.onnx", named["trunk.onnx"])
        self._network = Model(weights / "network.onnx", named["network.onnx"])
        if self._network.outputs != OUTPUTS:
            raise BadInput("The network gives other outputs than this version reads.", "Train again.")
        self.calibrations = scores.read_calibrations(
            checked_bytes(weights / "calibration.json", named["calibration.json"])
        )
        self._domain = read_domain(checked_bytes(weights / "domain.json", named["domain.json"]))
        self.operating_point = self.card.operating_point

    @property
    def weights_sha256(self) -> str:
        return self.card.weights_sha256

    @property
    def configuration_sha256(self) -> str:
        settings = (
            self.card.version, self.operating_point, MAX_SLICE_MM, MAX_GAP_MM, MIN_COVER_MM, TOP_SHARE, CUT_PIXELS,
            LIKELY, _SHARP.pattern, TOLD_MM, picture.SLICE_MM, picture.PIXEL_MM, picture.BRAIN, picture.BONE,
            picture.UPRIGHT,
            head.SEEN, head.MARGIN, head.TISSUE, head.SKULL, head.LARGE, head.LEAST, scores.TOP, marks.SHOWN,
        )  # fmt: skip
        return sha256_hex(json.dumps(settings), self.weights_sha256)

    def look(self, brain: np.ndarray, bone: np.ndarray | None) -> Looked:
        """Look at windowed slices from the neck up, uint8 ``(n, rows, columns)``. Raises BadInput: no head."""
        return look(brain, bone, self._trunk.run, self._network.run)

    def unlike(self, looked: Looked) -> float:
        """How unlike the training scans a scan is; above 1 it is not read."""
        return self._domain.score(looked.about)

    def probabilities(self, looked: Looked) -> dict[str, float]:
        """The calibrated probability of each class for the scan; without a bone window there is none of fracture."""
        whole = scores.scan_score(looked.scores)
        return {
            name: float(self.calibrations.scans[name].probability(whole[n]))
            for n, name in enumerate(CLASSES)
            if np.isfinite(whole[n])
        }

    def slice_probability(self, looked: Looked) -> np.ndarray:
        """The calibrated probability of blood on each slice ``(n,)``."""
        return self.calibrations.slices[CLASSES[0]].probability(looked.scores[:, 0])

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        volumes = [s for s in series if s.type.modality == "CT" and s.type.kind == "ct-volume"]
        heads = [s for s in volumes if s.type.region in ("head", "")]
        if not volumes:
            return Applicability(applies=False, reason="There is no CT volume in this study.")
        if not heads:
            return Applicability(applies=False, reason="No CT volume in this study shows the head.")
        plain = [s for s in heads if s.type.contrast is not True]
        if not plain:
            return Applicability(applies=False, reason="Every head CT in this study is with contrast agent.")
        soft = [s for s in plain if not _SHARP.search(s.type.kernel)]
        if not soft:
            return Applicability(applies=False, reason="Every head CT in this study has a kernel for bone.")
        axial = [s for s in soft if s.type.plane in ("axial", "oblique", "")]
        sound = [s for s in axial if not any(p.fatal for p in s.problems)]
        if not sound:
            codes = sorted({p.code for s in axial for p in s.problems if p.fatal})
            why = f"No volume can be made of the head CT: {', '.join(codes)}." if codes else "No head CT is axial."
            return Applicability(applies=False, reason=why)
        best = min(sound, key=_preference)
        reason = "Head CT." if best.type.region else "CT of an unknown region: the reader looks for a head itself."
        return Applicability(applies=True, reason=reason, series_instance_uids=(best.series_instance_uid,))

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        series = request.series[0]
        volume = series.volume
        why_not = _unfit(volume)
        if why_not or volume is None:
            return ReadingOutput(abstained=why_not)
        clock = monotonic()
        made = picture.picture_of(volume)
        try:
            looked = self.look(made.brain, made.bone)
        except BadInput as error:
            return ReadingOutput(abstained=str(error))
        seconds = {"look": round(monotonic() - clock, 3)}
        progress("look", 0.8)
        unlike = self.unlike(looked)
        why_not = _not_whole(made)
        if not why_not and unlike > 1:
            why_not = f"The image is unlike the head CTs this reader was made with (score {unlike:.2f}, at most 1)."
        if why_not:
            return ReadingOutput(abstained=why_not, out_of_domain_score=round(unlike, 3), seconds=seconds)
        chances = self.probabilities(looked)
        positive = self.slice_probability(looked) >= self.calibrations.slice_point
        statistics: dict[str, float | str] = {
            "head_mm": round(looked.square.side / head.MARGIN * picture.PIXEL_MM, 1),
            "slices_positive": float(positive.sum()),
            "hemorrhage_probability": round(chances[CLASSES[0]], 4),
            "fracture_shadow_probability": round(chances["fracture"], 4),
        }
        shift = shifts.measured(volume, series.headers)
        found: tuple[tuple[Finding, SegmentMask, np.ndarray], ...] = ()
        if chances[CLASSES[0]] >= self.operating_point:
            found = (self._finding(looked, chances, positive, made, series, volume),)
        progress("findings", 1.0)
        return ReadingOutput(
            findings=(*(finding for finding, _, _ in found), *shift.findings),
            segments={finding.segment: mask for finding, mask, _ in found},
            heat_maps={finding.evidence.heat_map: heat for finding, _, heat in found},
            out_of_domain_score=round(unlike, 3),
            study_measurements=shift.measurements,
            input_statistics=statistics,
            seconds=seconds,
        )

    def _finding(
        self, looked: Looked, chances: dict[str, float], positive: np.ndarray, made: picture.Picture,
        series: TypedSeries, volume: Volume,
    ) -> tuple[Finding, SegmentMask, np.ndarray]:  # fmt: skip
        strongest = int(looked.scores[:, 0].argmax())
        shown = positive.copy()
        shown[strongest] = True
        mark = marks.mark_of(looked, shown, strongest, made, volume)
        x, y, z = (round(float(c), 3) for c in volume.to_lps(mark.index))
        probability = chances[CLASSES[0]]
        place = PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z))
        types = sorted(TYPES, key=lambda name: -chances[name])
        said = [name for name in types if chances[name] >= LIKELY] or types[:1]
        slice_chance = self.slice_probability(looked)
        finding = Finding(
            id="hemorrhage",
            code=code("intracranial-hemorrhage"),
            place=place,
            probability=round(probability, 4),
            characteristics=tuple(
                Characteristic(concept=code("hemorrhage-type"), value=code(name), probability=round(chances[name], 4))
                for name in said
            ),
            side=side_of((x, y, z), volume, series.headers),
            evidence=Evidence(
                rule=f"The probability of the scan, from its {scores.TOP} highest slices, is at or above the reader's "
                f"operating point, {self.operating_point:.1%}.",
                heat_map="heat",
                notes=(
                    f"Positive slices (about {picture.SLICE_MM:g} mm each, from the neck up): "
                    f"{_numbers(shown)} of {len(shown)}; strongest {strongest + 1} ({slice_chance[strongest]:.0%}).",
                    "Types, in scans: "
                    + ", ".join(f"{name} {chances[name]:.0%}" for name in types)
                    + ". Few cases of each are behind these numbers: see the card.",
                    "The mark is where the network saw most blood, on a grid of about 12 mm; the region is what its "
                    "map has above half, not an outline, and no volume is taken from it.",
                ),
            ),
            segment="hemorrhage",
            series_instance_uid=volume.series_instance_uid,
        )
        return finding, mark.mask, mark.heat


def _numbers(shown: np.ndarray) -> str:
    """``3-5, 8`` of a mask of slices, counted from 1."""
    places = np.flatnonzero(shown) + 1
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _preference(series: TypedSeries) -> tuple[bool, float, str]:
    """A series known to be the head first, then slices nearest those it was made with, then the UID."""
    thickness = series.type.slice_thickness_mm
    return not series.type.region, abs((thickness or 99.0) - picture.SLICE_MM), series.series_instance_uid


def _unfit(volume: Volume | None) -> str:
    """Why this volume can't be read, or nothing."""
    if volume is None:
        return "The series gave no volume."
    if volume.unit != "HU":
        return "The voxels are not in Hounsfield units."
    problem = picture.axes_problem(volume)
    if problem:
        return problem
    count = volume.array.shape[0]
    positions = np.array(volume.slice_positions_mm or np.arange(count) * volume.spacing_mm[0])
    steps = np.abs(np.diff(positions))
    if not len(steps) or steps.sum() < MIN_COVER_MM:
        return f"The slices cover {steps.sum():.0f} mm; a head needs {MIN_COVER_MM:g} at least."
    if np.median(steps) > MAX_SLICE_MM:
        return f"Slices are {np.median(steps):.1f} mm apart; at most {MAX_SLICE_MM:g} mm can be read."
    if steps.max() > MAX_GAP_MM:
        return f"There is a gap of {steps.max():.0f} mm between slices; at most {MAX_GAP_MM:g} mm can be bridged."
    return ""


def _not_whole(made: picture.Picture) -> str:
    """Why what is seen is not a whole head, or nothing."""
    edge = np.concatenate([made.brain[:, [0, -1]].reshape(len(made.brain), -1),
                           made.brain[:, :, [0, -1]].reshape(len(made.brain), -1)], axis=1)  # fmt: skip
    if np.median(np.sort((edge >= head.SKULL).sum(axis=1))[-5:]) > CUT_PIXELS:
        return "The head is cut by the edge of the image."
    areas = (made.brain > head.TISSUE).sum(axis=(1, 2))
    if areas[-1] > TOP_SHARE * areas.max():
        return "The slices do not reach the top of the head."
    return ""
