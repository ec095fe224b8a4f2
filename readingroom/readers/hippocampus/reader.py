"""The reader ``hippocampus``: which series it reads, when it abstains, and how outlines become findings."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, Measurement, PatientPlace, SegmentMask
from readingroom.findings.side import Anatomy, side_of
from readingroom.imaging.volume import Volume
from readingroom.inference.domain import read_domain
from readingroom.inference.session import Model, checked_bytes
from readingroom.readers.contract import Applicability, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.hippocampus import sides
from readingroom.readers.hippocampus.card import WEIGHTS
from readingroom.readers.hippocampus.crops import PARTS, padded, unpadded
from readingroom.readers.hippocampus.limits import (
    BOUNDS,
    FARTHEST_MM,
    MAX_STEP_MM,
    MIN_LIKENESS,
    SCALES,
    VOLUMES_MM3,
    unfit,
    unsure,
)
from readingroom.readers.hippocampus.outline import Shift, outline
from readingroom.readers.hippocampus.sides import SIDES, Hippocampus
from readingroom.readers.registry import load_card

HERE = Path(__file__).parent


class HippocampusReader:
    """Version 1: see ``card.yaml``. ``folder`` holds the card and ``weights``; tests give their own."""

    def __init__(self, folder: Path = HERE) -> None:
        """Load card and weights. Raises BadInput where a weights file isn't the one the card names."""
        self.card = load_card(folder / "card.yaml")
        weights, named = folder / "weights", self.card.weights
        if set(WEIGHTS) - set(named):
            raise BadInput("The card does not name all weights.")
        self._network = Model(weights / "network.onnx", named["network.onnx"])
        if self._network.outputs != ("logits", "features"):
            raise BadInput("The network gives other outputs than this version reads.", "Train again.")
        shift = json.loads(checked_bytes(weights / "calibration.json", named["calibration.json"]))
        self._shift = Shift(float(shift["anterior"]), float(shift["posterior"]))
        self._domain = read_domain(checked_bytes(weights / "domain.json", named["domain.json"]))

    @property
    def weights_sha256(self) -> str:
        return self.card.weights_sha256

    @property
    def configuration_sha256(self) -> str:
        settings = (
            self.card.version, MAX_STEP_MM, MIN_LIKENESS, SCALES, VOLUMES_MM3, FARTHEST_MM, BOUNDS, sides.USUAL,
            sides.MARGIN,
        )  # fmt: skip
        return sha256_hex(json.dumps(settings), self.weights_sha256)

    def labels(self, crop: np.ndarray) -> np.ndarray:
        """Return the labels (0, 1 anterior, 2 posterior) of a crop of the set, RAS, 1 mm: for measuring the network."""
        said = self._network.run(padded(crop)[None, None])["logits"][0]
        return unpadded(outline(said, self._shift).labels, crop.shape)

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        volumes = [s for s in series if s.type.modality == "MR" and s.type.kind == "mr-volume"]
        heads = [s for s in volumes if s.type.region in ("head", "")]
        if not volumes:
            return Applicability(applies=False, reason="There is no MR volume in this study.")
        if not heads:
            return Applicability(applies=False, reason="No MR volume in this study shows the head.")
        plain = [s for s in heads if s.type.sequence in ("T1", "")]
        if not plain:
            return Applicability(applies=False, reason="No MR of the head in this study is T1 without contrast agent.")
        sound = [s for s in plain if not any(p.fatal for p in s.problems)]
        if not sound:
            codes = sorted({p.code for s in plain for p in s.problems if p.fatal})
            return Applicability(applies=False, reason=f"No volume can be made of the T1 MR: {', '.join(codes)}.")
        best = min(sound, key=_preference)
        known = "T1 MR" if best.type.sequence else "MR of an unknown sequence"
        reason = f"{known} of the head." if best.type.region else f"{known}: the reader looks for a head itself."
        return Applicability(applies=True, reason=reason, series_instance_uids=(best.series_instance_uid,))

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        # SimpleITK takes half a second to load: only who reads a head needs it.
        from readingroom.readers.hippocampus import head

        series = request.series[0]
        volume = series.volume
        why_not = unfit(volume)
        if why_not or volume is None:
            return ReadingOutput(abstained=why_not)
        seconds: dict[str, float] = {}
        clock = monotonic()
        placed = head.place(volume)
        seconds["template"] = round(monotonic() - clock, 3)
        progress("template", 0.6)
        if placed is None:
            return ReadingOutput(abstained="This does not look like a whole head.", seconds=seconds)
        statistics: dict[str, float | str] = {
            "template_likeness": round(placed.likeness, 4),
            "template_scale": round(placed.scale, 4),
            "turned_degrees": round(placed.turned, 2),
        }
        why_not = unsure(volume, placed)
        if why_not:
            return ReadingOutput(abstained=why_not, input_statistics=statistics, seconds=seconds)
        clock = monotonic()
        found = [sides.find(volume, placed, side, self._network.run, self._shift) for side in SIDES]
        seconds["outline"] = round(monotonic() - clock, 3)
        progress("outline", 0.9)
        both = [one for one in found if one is not None]
        unlike = self._domain.score(np.stack([one.features for one in both])) if both else None
        for one in both:
            statistics[f"{one.side}_mm3"] = one.volume_mm3
            statistics[f"{one.side}_away_mm"] = round(float(np.linalg.norm(one.away_mm)), 2)
            statistics[f"{one.side}_confidence"] = round(min(one.outline.confidence(p) for p in PARTS), 4)
        shared = {"input_statistics": statistics, "seconds": seconds, "out_of_domain_score": _rounded(unlike)}
        why_not = _implausible(both, unlike)
        if why_not:
            return ReadingOutput(abstained=why_not, **shared)  # type: ignore[arg-type]
        anatomy = _anatomy(placed)
        reported = [r for one in both for r in _reported(one, series, volume, anatomy, placed.likeness)]
        progress("findings", 1.0)
        return ReadingOutput(
            findings=tuple(r.finding for r in reported),
            segments={r.finding.segment: r.mask for r in reported},
            heat_maps={r.finding.evidence.heat_map: r.heat_map for r in reported},
            study_measurements=_volumes(both),
            **shared,  # type: ignore[arg-type]
        )


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def _implausible(both: list[Hippocampus], unlike: float | None) -> str:
    """Why what was outlined can't be what it should be, or nothing."""
    if len(both) < len(SIDES) or any(one.outline.volume_mm3(part) == 0 for one in both for part in PARTS):
        return "The hippocampus could not be outlined on both sides."
    if unlike is not None and unlike > 1:
        return f"The hippocampi are unlike the images this reader was made with (score {unlike:.2f}, 1 at the limit)."
    for one in both:
        if not VOLUMES_MM3[0] <= one.volume_mm3 <= VOLUMES_MM3[1]:
            return f"The {one.side} hippocampus was outlined with {one.volume_mm3:.0f} mm3, which no hippocampus has."
        if np.linalg.norm(one.away_mm) > FARTHEST_MM:
            return f"The {one.side} hippocampus was outlined {np.linalg.norm(one.away_mm):.0f} mm from its place."
    apart = float(np.linalg.norm(both[0].away_mm - both[1].away_mm))
    if apart > FARTHEST_MM:
        return f"Left and right do not agree: mirrored, the outlines lie {apart:.0f} mm apart."
    return ""


def _preference(series: TypedSeries) -> tuple[bool, bool, float, str]:
    """Known to be T1 and head first, then thin slices, then the UID, so that the choice is always the same."""
    thickness = series.type.slice_thickness_mm
    return not series.type.sequence, not series.type.region, thickness or 99.0, series.series_instance_uid


def _anatomy(placed: "object") -> Anatomy:
    """The middle of the head at the hippocampi, from the template. The rest of it is for bodies."""
    from readingroom.readers.hippocampus.head import CENTRES, Placed

    assert isinstance(placed, Placed)
    middle = np.mean([np.array(CENTRES[side]) for side in SIDES], axis=0)
    x = float((placed.to_head[:3, :3] @ middle + placed.to_head[:3, 3])[0])
    return Anatomy(x, 0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class _Reported:
    finding: Finding
    mask: SegmentMask
    heat_map: np.ndarray


def _reported(
    one: Hippocampus, series: TypedSeries, volume: Volume, anatomy: Anatomy, likeness: float
) -> list[_Reported]:
    """Return a finding, its segment and its heat map for each part of one side."""
    source = sides.on_source(one, volume)
    made = []
    for label, part in enumerate(PARTS, 1):
        places = np.argwhere(source.labels == label)
        if not len(places):
            raise BadInput("A part of the hippocampus is smaller than the voxels of the series.")
        low, high = places.min(axis=0), places.max(axis=0) + 1
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        k, j, i = (int(a + b) for a, b in zip(low, source.offset, strict=True))
        inside = np.argwhere(one.outline.labels == label).mean(axis=0)
        x, y, z = (round(float(v), 3) for v in one.affine[:3, :3] @ inside + one.affine[:3, 3])
        name = f"{one.side}-{part}"
        confidence = one.outline.confidence(part)
        finding = Finding(
            id=name,
            code=code(f"hippocampus-{part}"),
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            measurements=(
                Measurement(
                    code=code("volume"), value=round(one.outline.volume_mm3(part), 1), unit=code("mm3"),
                    method="voxels of 1 mm outlined by the network, bias taken out on cases it had not seen",
                ),
            ),
            side=side_of((x, y, z), volume, series.headers, anatomy),
            evidence=Evidence(
                heat_map=f"chance-{name}",
                notes=(
                    f"Mean confidence of the network (softmax, not calibrated) over its voxels: {confidence:.2f}.",
                    f"The head fits the template with a correlation of {likeness:.2f} ({MIN_LIKENESS:g} at least).",
                    f"It lies {np.linalg.norm(one.away_mm):.0f} mm from where the template has the hippocampus.",
                    "The heat map shows how sure the network is, voxel by voxel; the segment is cut to the series' "
                    "voxels, the volume is measured at 1 mm.",
                ),
            ),
            segment=name,
            series_instance_uid=volume.series_instance_uid,
        )  # fmt: skip
        mask = SegmentMask(
            volume.series_instance_uid, (k, j, i), source.labels[box] == label,
            volume.sop_instance_uids[k : k + int(high[0] - low[0])],
        )  # fmt: skip
        heat_map = np.clip(source.chance[label][box], 0, 1).astype(np.float32)
        made.append(_Reported(finding, mask, heat_map))
    return made


def _volumes(both: list[Hippocampus]) -> tuple[Measurement, ...]:
    """Return the volumes of each side, whole and in parts (cm3, which is ml), and how they differ."""
    made = []
    for one in both:
        for name, value in (
            (f"hippocampus-volume-{one.side}", one.volume_mm3),
            *((f"hippocampus-volume-{one.side}-{part}", one.outline.volume_mm3(part)) for part in PARTS),
        ):
            made.append(Measurement(code=code(name), value=round(value / 1000, 3), unit=code("cm3")))
    left, right = (one.volume_mm3 for one in both)
    made.append(
        Measurement(
            code=code("hippocampus-asymmetry"), value=round(200 * (left - right) / (left + right), 2),
            unit=code("percent"), method="(left - right) / mean of both; above 0 the left is larger",
        )
    )  # fmt: skip
    return tuple(made)
