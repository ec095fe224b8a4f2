"""A reader made of a manifest and an ONNX network: no code of its own."""

import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, Measurement, PatientPlace, SegmentMask, StudyPlace
from readingroom.imaging.volume import Volume
from readingroom.inference.session import Model
from readingroom.readers.contract import Applicability, Card, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.packaged.grid import Turn, pick, resize, run_in_patches, scale, turn_of, wanted_shape
from readingroom.readers.packaged.manifest import Class, Manifest

VERSION = "1"
"""Of this module's own steps: what they give depends on it."""
MOST = 50
"""Findings of one class at most, the most probable ones."""
LARGEST_GRID = 1 << 28
"""Voxels times channels of a grid that is still read."""


class PackagedReader:
    """See ``Manifest``. ``path`` is the network's file; ``card`` names its hash as ``weights["network.onnx"]``."""

    def __init__(self, manifest: Manifest, card: Card, path: Path) -> None:
        """Open the network. Raises BadInput where its bytes are others, or it takes and gives something else."""
        self.card = card
        self._manifest, self._takes, self._gives = manifest, manifest.input, manifest.output
        self._model = Model(path, card.weights["network.onnx"])
        if len(self._model.outputs) != 1:
            raise BadInput(f"{path.name} has not just one output.")
        self._channels = self._probe()

    @property
    def weights_sha256(self) -> str:
        return self.card.weights["network.onnx"]

    @property
    def configuration_sha256(self) -> str:
        return sha256_hex(VERSION, json.dumps(self._manifest.model_dump(mode="json"), sort_keys=True))

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        modality, region = self._takes.modality, self._takes.region
        volumes = [s for s in series if s.type.modality == modality and s.type.kind == f"{modality.lower()}-volume"]
        if not volumes:
            return Applicability(applies=False, reason=f"There is no {modality} volume in this study.")
        fitting = [s for s in volumes if not region or s.type.region in (region, "")]
        if not fitting:
            return Applicability(applies=False, reason=f"No {modality} volume in this study shows the {region}.")
        sound = [s for s in fitting if not any(p.fatal for p in s.problems)]
        if not sound:
            return Applicability(applies=False, reason=f"No volume can be made of the {modality} series.")
        best = min(sound, key=lambda s: (not s.type.region, s.type.slice_thickness_mm or 99.0, s.series_instance_uid))
        return Applicability(
            applies=True, reason=f"{modality} volume.", series_instance_uids=(best.series_instance_uid,)
        )

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        series = request.series[0]
        volume = series.volume
        if volume is None:
            return ReadingOutput(abstained="The series gave no volume.")
        if volume.irregular:
            return ReadingOutput(abstained="The slices are not evenly spaced.")
        if self._takes.modality == "CT" and volume.unit != "HU":
            return ReadingOutput(abstained="The voxels are not in Hounsfield units.")
        turn = turn_of(volume, self._takes.axes)
        if turn is None:
            return ReadingOutput(abstained="The volume lies oblique to the axes that the network wants.")
        array = turn.there(volume.array)
        if self._gives.kind == "classification":
            return self._classified(scale(resize(array, self._takes.size), self._takes))
        a, b, c = (volume.spacing_mm[axis] for axis in turn.order)
        shape = wanted_shape((array.shape[0], array.shape[1], array.shape[2]), (a, b, c), self._takes)
        if int(np.prod(shape)) * self._channels > LARGEST_GRID:
            return ReadingOutput(abstained="The volume is too large at the network's spacing.")
        # First the grid, then the values, as networks are trained: cutting values off does not commute with it.
        values = scale(resize(array, shape), self._takes)
        progress("grid", 0.1)
        scores = run_in_patches(
            values, self._takes, self._channels, self._scores, lambda f: progress("network", 0.1 + 0.8 * f)
        )
        return self._segmented(scores, series, volume, turn)

    def _probe(self) -> int:
        """Run the network once on nothing; return its number of channels. Raises BadInput."""
        try:
            out = self._raw(np.zeros(self._takes.size, np.float32))
        except Exception as error:
            raise BadInput(
                f"The network does not take one channel of {self._takes.size} voxels ({type(error).__name__})."
            ) from None
        inside = () if self._gives.kind == "classification" else self._takes.size
        if out.ndim != 1 + len(inside) or out.shape[1:] != inside:
            raise BadInput(f"The network gives {out.shape}, not one number a voxel and channel.")
        wanted = max(one.channel for one in self._gives.classes)
        if wanted >= out.shape[0]:
            raise BadInput(f"The manifest names channel {wanted}, and the network gives {out.shape[0]} of them.")
        return int(out.shape[0])

    def _raw(self, patch: np.ndarray) -> np.ndarray:
        """Return what the network gives for one patch, without the axis of the batch."""
        if self._model.rank == 5:
            return self._only(patch[None, None])
        if self._model.rank != 4 or 1 not in patch.shape:
            raise BadInput("A network takes three dimensions, or two and patches of one slice.")
        thin = patch.shape.index(1)
        out = self._only(patch.squeeze(thin)[None, None])
        return np.expand_dims(out, thin + 1) if out.ndim == 3 else out

    def _only(self, batch: np.ndarray) -> np.ndarray:
        (out,) = self._model.run(batch).values()
        return np.asarray(out[0])

    def _scores(self, patch: np.ndarray) -> np.ndarray:
        """Return scores from 0 to 1, channel first. Raises BadInput where they are none."""
        raw = self._raw(patch).astype(np.float32)
        if self._gives.activation == "sigmoid":
            raw = np.float32(1) / (np.float32(1) + np.exp(-np.clip(raw, -60, 60)))
        elif self._gives.activation == "softmax":
            raw = np.exp(raw - raw.max(axis=0))
            raw /= raw.sum(axis=0)
        if not np.isfinite(raw).all() or raw.min() < -1e-4 or raw.max() > 1 + 1e-4:
            raise BadInput("The network gave scores outside 0 to 1: its activation is another than the manifest says.")
        return raw

    def _classified(self, values: np.ndarray) -> ReadingOutput:
        scores = self._scores(values)
        softmax = self._gives.activation == "softmax"
        findings = tuple(
            Finding(
                id=f"class-{one.channel}",
                code=one.code,
                place=StudyPlace(),
                probability=_rounded(scores[one.channel]),
                evidence=self._evidence(one),
            )
            for one in self._gives.classes
            if scores[one.channel] >= one.threshold and not (softmax and one.channel != scores.argmax())
        )
        statistics: dict[str, float | str] = {
            f"score_{one.channel}": _rounded(scores[one.channel]) for one in self._gives.classes
        }
        return ReadingOutput(findings=findings, input_statistics=statistics)

    def _segmented(self, scores: np.ndarray, series: TypedSeries, volume: Volume, turn: Turn) -> ReadingOutput:
        findings: list[Finding] = []
        segments: dict[str, SegmentMask] = {}
        best = scores.argmax(axis=0) if self._gives.activation == "softmax" else None
        turned = tuple(volume.array.shape[axis] for axis in turn.order)
        for one in self._gives.classes:
            score = scores[one.channel]
            mask = score >= one.threshold
            if best is not None:
                mask &= best == one.channel
            for part in self._parts(pick(mask, turned), pick(score, turned), one, volume, turn):
                name = f"segment-{one.channel}-{len(segments) + 1}"
                findings.append(self._finding(name, part[0], part[1], one, series, volume))
                segments[name] = _cropped(part[0], volume)
        return ReadingOutput(findings=tuple(findings), segments=segments)

    def _parts(
        self, mask: np.ndarray, score: np.ndarray, one: Class, volume: Volume, turn: Turn
    ) -> list[tuple[np.ndarray, float | None]]:
        """Return the masks on the source grid that are a finding each, with the score of a detection's."""
        mask, score = turn.back(mask), turn.back(score)
        smallest = max(1.0, one.smallest_ml * 1000 / float(np.prod(volume.spacing_mm)))
        if self._gives.kind == "segmentation":
            return [(mask, None)] if mask.sum() >= smallest else []
        labels, count = ndimage.label(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        top = ndimage.maximum(score, labels, np.arange(count + 1)) if count else np.zeros(1)
        kept = sorted((n for n in range(1, count + 1) if sizes[n] >= smallest), key=lambda n: -float(top[n]))
        return [(labels == n, _rounded(top[n])) for n in kept[:MOST]]

    def _finding(
        self, name: str, mask: np.ndarray, score: float | None, one: Class, series: TypedSeries, volume: Volume
    ) -> Finding:
        voxels = np.argwhere(mask)
        # The voxel of the segment that is nearest to its middle: a place lies in what it is the place of.
        middle = voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
        x, y, z = (round(float(value), 3) for value in volume.to_lps(middle))
        cubic_mm = len(voxels) * float(np.prod(volume.spacing_mm))
        return Finding(
            id=name,
            code=one.code,
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            probability=score,
            measurements=(Measurement(code=code("volume"), value=round(cubic_mm, 1), unit=code("mm3")),),
            evidence=self._evidence(one),
            segment=name,
            series_instance_uid=series.series_instance_uid,
        )

    def _evidence(self, one: Class) -> Evidence:
        why = f"Its score is at or above {one.threshold:g}, as the manifest sets it."
        return Evidence(
            rule=why if one.threshold else "Its score is the largest of all classes.",
            notes=("The score is the network's own and has not been calibrated here.",),
        )


def _rounded(score: float | np.floating) -> float:
    return round(min(max(float(score), 0.0), 1.0), 4)


def _cropped(mask: np.ndarray, volume: Volume) -> SegmentMask:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    offset = (box[0].start, box[1].start, box[2].start)
    return SegmentMask(
        volume.series_instance_uid, offset, np.ascontiguousarray(mask[box]), volume.sop_instance_uids[box[0]]
    )
