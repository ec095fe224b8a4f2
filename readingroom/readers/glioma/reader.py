"""The reader ``glioma``: which series it reads, when it abstains, and how lesions become findings."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, PatientPlace, SegmentMask
from readingroom.findings.side import Anatomy, look, side_of
from readingroom.imaging.volume import Volume
from readingroom.inference.calibration import read_calibration
from readingroom.inference.domain import read_domain
from readingroom.inference.session import Model, checked_bytes
from readingroom.readers.contract import Applicability, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.glioma import lesions, measure, prepare
from readingroom.readers.glioma import look as looking
from readingroom.readers.glioma.card import WEIGHTS
from readingroom.readers.glioma.grid import Grid, axial_grid, box_of, onto, onto_source
from readingroom.readers.registry import load_card

HERE = Path(__file__).parent
MAX_SLICE_MM = 8.0
MAX_PIXEL_MM = 2.0
MAX_GAP_MM = 12.0
MIN_COVER_MM = 60.0
WIDTH_MM, DEPTH_MM = (100.0, 215.0), (120.0, 270.0)
"""What a head measures from left to right and from front to back, without skull or with."""


class GliomaReader:
    """Version 1: see ``card.yaml``. ``folder`` holds the card and ``weights``; tests give their own."""

    def __init__(self, folder: Path = HERE) -> None:
        """Load card and weights. Raises BadInput where a weights file isn't the one the card names."""
        self.card = load_card(folder / "card.yaml")
        weights, named = folder / "weights", self.card.weights
        missing = set(WEIGHTS) - set(named)
        if missing or self.card.operating_point is None:
            raise BadInput("The card names no operating point or not all weights.")
        self._network = Model(weights / "network.onnx", named["network.onnx"])
        if self._network.outputs != looking.OUTPUTS:
            raise BadInput("The network gives other outputs than this version reads.", "Train again.")
        self._calibration = read_calibration(checked_bytes(weights / "calibration.json", named["calibration.json"]))
        self._domain = read_domain(checked_bytes(weights / "domain.json", named["domain.json"]))
        self._operating_point = self.card.operating_point

    @property
    def weights_sha256(self) -> str:
        return self.card.weights_sha256

    @property
    def configuration_sha256(self) -> str:
        settings = (
            self.card.version, self._operating_point, MAX_SLICE_MM, MAX_PIXEL_MM, MAX_GAP_MM, MIN_COVER_MM, WIDTH_MM,
            DEPTH_MM, lesions.CUT, lesions.LEAST_MM2, lesions.MOST, prepare.HEIGHT, prepare.WIDTH, prepare.LOW,
            prepare.HIGH, measure.MEASURABLE_MM,
        )  # fmt: skip
        return sha256_hex(json.dumps(settings), self.weights_sha256)

    def look(self, seen: prepare.Seen, only: int | None = None) -> looking.Looked:
        """What the networks say of prepared slices; ``only``: the network of one fold."""
        return looking.look(seen, self._network.run, only)

    def unlike(self, features: np.ndarray) -> float:
        """How unlike the training images a study is: 1 at the threshold, above it the reader abstains."""
        return self._domain.score(features)

    def probability(self, lesion: lesions.Lesion) -> float:
        """Calibrated probability that a part is what it was trained to find."""
        return float(self._calibration.probability(np.array(lesion.score)))

    def reported(self, chance: np.ndarray, pixel_mm2: float = 1.0) -> list[lesions.Lesion]:
        """The parts at or above the operating point, surest first."""
        return [
            one
            for one in lesions.lesions_of(chance, pixel_mm2)
            if self.probability(one) >= self._operating_point - 1e-9
        ]

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        volumes = [s for s in series if s.type.kind == "mr-volume"]
        if not volumes:
            return Applicability(applies=False, reason="There is no MR volume in this study.")
        head = [s for s in volumes if s.type.region in ("head", "")]
        if not head:
            return Applicability(applies=False, reason="No MR volume in this study shows the head.")
        flair = [s for s in head if s.type.sequence == "FLAIR"]
        if not flair:
            return Applicability(applies=False, reason="No series of the head in this study is a FLAIR.")
        sound = [s for s in flair if not any(p.fatal for p in s.problems)]
        if not sound:
            codes = sorted({p.code for s in flair for p in s.problems if p.fatal})
            return Applicability(applies=False, reason=f"No volume can be made of the FLAIR: {', '.join(codes)}.")
        chosen = [min(sound, key=_preference)]
        post = [s for s in head if s.type.sequence == "T1-post" and not any(p.fatal for p in s.problems)]
        chosen += [min(post, key=_preference)] if post else []
        reason = "FLAIR and T1 after contrast agent." if post else "FLAIR alone: no T1 after contrast agent was found."
        if not chosen[0].type.region:
            reason += " The region is unknown: the reader looks for a head itself."
        return Applicability(
            applies=True, reason=reason, series_instance_uids=tuple(s.series_instance_uid for s in chosen)
        )

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        flair = next(s for s in request.series if s.type.sequence == "FLAIR")
        volume = flair.volume
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

        grid = axial_grid(volume)
        post, how = _post_of(request.series, volume, grid)
        seen = prepare.seen(onto(volume, grid), post)
        why_not = _no_head(seen.head, grid)
        lap("grid", 0.2)
        if why_not:
            return ReadingOutput(abstained=why_not, seconds=seconds)
        looked = self.look(seen)
        lap("network", 0.8)
        # Slices that hold hardly any head, at the ends, say little of the image.
        area = seen.head.sum(axis=(1, 2))
        unlike = self.unlike(looked.features[area >= 0.3 * area.max()])
        statistics: dict[str, float | str] = {"post_contrast": how, "slices_read": float(len(area))}
        if unlike > 1:
            reason = f"What the networks see is unlike what they were trained on ({unlike:.1f} times the limit)."
            return ReadingOutput(
                abstained=reason, out_of_domain_score=round(unlike, 3), input_statistics=statistics, seconds=seconds
            )
        found = self.reported(looked.chance)
        anatomy = look(volume) if found else None
        study = _Study(flair, volume, grid, looked.chance, anatomy, how)
        made = [self._finding(n, one, study) for n, one in enumerate(found, 1)]
        lap("findings", 1.0)
        return ReadingOutput(
            findings=tuple(one.finding for one in made),
            segments={one.finding.segment: one.mask for one in made},
            heat_maps={one.finding.evidence.heat_map: one.heat_map for one in made},
            out_of_domain_score=round(unlike, 3),
            input_statistics=statistics | {"lesions_reported": float(len(made))},
            seconds=seconds,
        )

    def _finding(self, number: int, lesion: lesions.Lesion, study: "_Study") -> "_Reported":
        volume, grid = study.volume, study.grid
        box = box_of(lesion.mask, grid, volume)
        # The probability of this lesion alone: its neighbours' pixels do not belong to its segment.
        own = np.where(ndimage.binary_dilation(lesion.mask, np.ones((1, 3, 3), bool)), study.chance, np.float32(0))
        heat = np.clip(onto_source(own, grid, volume, box), 0, 1).astype(np.float32)
        mask = heat > lesions.CUT
        if not mask.any():
            mask = heat >= heat.max()
        millilitres = float(mask.sum() * np.prod(volume.spacing_mm) / 1000)
        axes = measure.axes_of(lesion.mask, grid)
        inside = np.argwhere(lesion.mask)
        nearest = inside[int(np.linalg.norm((inside - inside.mean(axis=0)) * grid.spacing_mm, axis=1).argmin())]
        x, y, z = (round(float(c), 3) for c in grid.to_lps(nearest))
        name = f"lesion-{number}"
        offset = (box[0].start, box[1].start, box[2].start)
        finding = Finding(
            id=name,
            code=code("flair-abnormality"),
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            probability=round(self.probability(lesion), 4),
            measurements=measure.measurements_of(lesion.mask, grid, axes, millilitres),
            axes=axes,
            side=side_of((x, y, z), volume, study.flair.headers, study.anatomy),
            site=code("brain"),
            evidence=Evidence(
                rule=f"Its probability is at or above the reader's operating point, {self._operating_point:.1%}.",
                heat_map=f"heat-{number}",
                notes=_notes(axes, study.how),
            ),
            segment=name,
            series_instance_uid=volume.series_instance_uid,
        )
        uids = volume.sop_instance_uids[box[0]]
        return _Reported(finding, SegmentMask(volume.series_instance_uid, offset, mask, uids), heat)


@dataclass(frozen=True, eq=False)
class _Study:
    """What all findings of a reading share. ``how``: what was read after contrast agent, in a word."""

    flair: TypedSeries
    volume: Volume
    grid: Grid
    chance: np.ndarray
    anatomy: Anatomy | None
    how: str


@dataclass(frozen=True, eq=False)
class _Reported:
    finding: Finding
    mask: SegmentMask
    heat_map: np.ndarray


def _notes(axes: tuple[measure.Axis, measure.Axis], how: str) -> tuple[str, ...]:
    short = min(math.dist(axis.start_lps_mm, axis.end_lps_mm) for axis in axes)
    size = (
        f"Both diameters reach {measure.MEASURABLE_MM:g} mm: measurable by RANO."
        if short >= measure.MEASURABLE_MM
        else f"A diameter is below {measure.MEASURABLE_MM:g} mm: not measurable by RANO."
    )
    return (
        "The whole of what is abnormal on FLAIR, with oedema: enhancing, necrotic and other parts are not told apart.",
        "Bright on FLAIR are infarcts, inflammation and scars too: no diagnosis, and no tumour is excluded.",
        "The heat map shows how sure the networks are of each voxel.",
        {
            "none": "Read on FLAIR alone.",
            "same frame": "Read on FLAIR and T1 after contrast agent, in one frame of reference.",
            "registered": "Read on FLAIR and T1 after contrast agent, which was moved onto the FLAIR (rigid).",
            "no fit": "Read on FLAIR alone: T1 after contrast agent could not be laid on it.",
        }[how],
        size,
    )


def _post_of(series: tuple[TypedSeries, ...], flair: Volume, grid: Grid) -> tuple[np.ndarray | None, str]:
    """The post-contrast series on the grid, and how it came there."""
    post = next((s.volume for s in series if s.type.sequence == "T1-post" and s.volume is not None), None)
    if post is None:
        return None, "none"
    if post.frame_of_reference_uid == flair.frame_of_reference_uid:
        return onto(post, grid), "same frame"
    from readingroom.readers.glioma.register import moved_onto

    moved = moved_onto(flair, post)
    return (None, "no fit") if moved is None else (onto(post, grid, moved), "registered")


def _preference(series: TypedSeries) -> tuple[bool, bool, float, str]:
    """A series known to be of the head first, then axial, then thin slices, then the UID: always the same choice."""
    thickness = series.type.slice_thickness_mm
    return (
        not series.type.region, series.type.plane != "axial", thickness if thickness else 99.0,
        series.series_instance_uid,
    )  # fmt: skip


def _unfit(volume: Volume | None) -> str:
    """Why this volume can't be read, or nothing."""
    if volume is None:
        return "The FLAIR gave no volume."
    slice_mm, *pixel_mm = volume.spacing_mm
    if slice_mm > MAX_SLICE_MM + 0.01:
        return f"Slices are {slice_mm:.1f} mm apart; at most {MAX_SLICE_MM:g} mm can be read."
    if max(pixel_mm) > MAX_PIXEL_MM + 0.01:
        return f"Pixels are {max(pixel_mm):.1f} mm apart; at most {MAX_PIXEL_MM:g} mm can be read."
    if volume.irregular and max(np.diff(volume.slice_positions_mm)) > MAX_GAP_MM:
        return f"There is a gap between slices; at most {MAX_GAP_MM:g} mm can be bridged."
    grid = axial_grid(volume)
    cover = grid.shape[0] * grid.spacing_mm[0]
    if cover < MIN_COVER_MM:
        return f"The slices cover {cover:.0f} mm; a brain needs {MIN_COVER_MM:g} at least."
    return ""


def _no_head(head: np.ndarray, grid: Grid) -> str:
    """Why what was found is no head, or nothing."""
    shadow = np.any(head, axis=0)
    if not np.any(shadow):
        return "No head was found."
    _, row_mm, column_mm = grid.spacing_mm
    spans = [
        float(np.ptp(np.flatnonzero(np.any(shadow, axis=axis))) + 1) * mm for axis, mm in ((0, column_mm), (1, row_mm))
    ]
    for span, (low, high), words in zip(spans, (WIDTH_MM, DEPTH_MM), ("left to right", "front to back"), strict=True):
        if not low <= span <= high:
            return f"This does not look like a head: it measures {span:.0f} mm from {words} ({low:g} to {high:g})."
    return ""
