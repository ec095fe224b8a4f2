"""Voxels of NIfTI-1 files, the form research sets come in. Reads the little that such files need (header by the
NIfTI-1.1 definition); nothing else is wanted for it. What comes in for reading is DICOM."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from readingroom.core.errors import BadInput

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_MAX_BYTES = 256 << 20


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
        raise BadInput("is larger than 256 MB")
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
