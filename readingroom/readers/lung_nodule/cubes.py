"""The cube set: ``images/CASE.nii.gz`` (int16 HU, 1 mm, axis 0 = slice) and ``masks/CASE.nii.gz``, one patient each.

Reads the little of NIfTI-1 that such files need (header by the NIfTI-1.1 definition); nothing else is wanted for it.
"""

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from readingroom.core.errors import BadInput

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_MAX_BYTES = 256 << 20
MIN_HIT_MM = 5.0


@dataclass(frozen=True, eq=False)
class Cube:
    """One case. ``hu`` int16 and ``mask`` bool, both ``(slice, row, column)`` at 1 mm; ``mask`` may be empty."""

    case_id: str
    hu: np.ndarray
    mask: np.ndarray

    @cached_property
    def nodule(self) -> np.ndarray:
        """The largest connected part of the mask."""
        labels, count = ndimage.label(self.mask, np.ones((3, 3, 3)))
        if count < 2:
            return self.mask
        return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))

    @cached_property
    def centre(self) -> np.ndarray | None:
        """Centroid of the annotated nodule, index; None where none is annotated."""
        return np.argwhere(self.nodule).mean(axis=0) if self.mask.any() else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the voxels: tells a case that was trained on under any name."""
        return hashlib.sha256(self.hu.tobytes()).hexdigest()[:16]

    @cached_property
    def hit_radius_mm(self) -> float:
        """A mark this near the centre hits: the annotated (volume-equivalent) radius, at least 5 mm."""
        return max(MIN_HIT_MM, float((3 * self.nodule.sum() / (4 * np.pi)) ** (1 / 3)))

    def hits(self, index: np.ndarray) -> bool:
        return self.centre is not None and bool(np.linalg.norm(index - self.centre) <= self.hit_radius_mm)

    def on_annotation(self, index: np.ndarray) -> bool:
        """Whether a mark is on any annotated voxel (within 2 mm): such a mark isn't false even where it is no hit."""
        if self.hits(index):
            return True
        voxels = np.argwhere(self.mask)
        return bool(len(voxels)) and bool(np.linalg.norm(voxels - index, axis=1).min() <= 2.0)


def read_cubes(folder: Path) -> tuple[list[Cube], list[str]]:
    """Return the cases in ``folder`` by id, and a sentence for each file that could not be used.

    Raises BadInput where there is no ``images`` folder or not one case can be read.
    """
    if not (folder / "images").is_dir():
        raise BadInput(f"{folder} has no folder 'images'.", "Give a folder laid out like lung_nodule_cubes.")
    cubes, problems = [], []
    for path in sorted((folder / "images").glob("*.nii*")):
        case_id = path.name.removesuffix(".gz").removesuffix(".nii")
        try:
            hu = np.clip(np.rint(read_nifti(path)), -2048, 3071).astype(np.int16)
            mask_path = folder / "masks" / path.name
            mask = read_nifti(mask_path) > 0 if mask_path.exists() else np.zeros(hu.shape, bool)
            if mask.shape != hu.shape or hu.ndim != 3 or min(hu.shape) < 16:
                raise BadInput("image and mask do not fit together")
        except BadInput as error:
            problems.append(f"{path.name}: {error.message}")
            continue
        cubes.append(Cube(case_id, np.ascontiguousarray(hu), np.ascontiguousarray(mask)))
    if not cubes:
        raise BadInput(f"No case in {folder / 'images'} could be read.", "; ".join(problems[:3]))
    return cubes, problems


def read_nifti(path: Path) -> np.ndarray:
    """Return the voxels of a NIfTI-1 file (``.nii`` or ``.nii.gz``), scaled, indexed as stored (first axis fastest)."""
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path) as stream:
                data = stream.read(_MAX_BYTES + 1)
        else:
            data = path.read_bytes()[: _MAX_BYTES + 1]
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"cannot be read ({type(error).__name__})") from None
    if len(data) > _MAX_BYTES:
        raise BadInput("is larger than a cube can be")
    if len(data) < 352 or data[344:347] not in (b"n+1", b"ni1"):
        raise BadInput("is not NIfTI-1")
    order = "<" if struct.unpack("<i", data[:4])[0] == 348 else ">"
    dims = struct.unpack(order + "8h", data[40:56])
    kind = _TYPES.get(struct.unpack(order + "h", data[70:72])[0])
    start, slope, intercept = struct.unpack(order + "3f", data[108:120])
    shape = tuple(int(n) for n in dims[1 : 1 + max(0, min(dims[0], 7))])
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if kind is None or len(shape) != 3 or min(shape) < 1 or not 348 <= start < len(data):
        raise BadInput("has a form of NIfTI that is not handled")
    count = int(np.prod(shape, dtype=np.int64))
    dtype = np.dtype(order + kind)
    if int(start) + count * dtype.itemsize > len(data):
        raise BadInput("is truncated")
    voxels = np.frombuffer(data, dtype, count, int(start)).reshape(shape, order="F").astype(np.float32)
    if slope not in (0.0, 1.0) or (slope == 1.0 and intercept != 0.0):
        voxels = voxels * slope + intercept
    if not np.isfinite(voxels).all():
        raise BadInput("holds values that are not numbers")
    return voxels
