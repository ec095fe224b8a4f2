"""Heat maps: how much each voxel of a finding's segment box counted for the reader's score.

An array ``(slices, rows, columns)`` of float32 within 0..1 on exactly the box of the segment of the same finding, so
that it lies where the segment lies; 1 is what counted most. Kept as one ``.npy`` (no pickle).
"""

import io

import numpy as np

from readingroom.core.errors import BadInput


def check_heat_map(heat_map: np.ndarray, box: tuple[int, ...]) -> None:
    """Raise BadInput, in a sentence for people, where ``heat_map`` can't be one of a segment whose mask is ``box``."""
    if heat_map.dtype != np.float32:
        raise BadInput(f"A heat map is an array of float32, and this one is of {heat_map.dtype}.")
    if heat_map.shape != box:
        raise BadInput(f"A heat map has the shape of its segment's box {box}, and this one has {heat_map.shape}.")
    # Not a number is in no range: one question finds it, both infinities and what lies outside.
    if not bool(np.all((heat_map >= 0) & (heat_map <= 1))):
        raise BadInput("A heat map lies within 0 and 1, and this one has other values or some that are not finite.")


def heat_map_to_bytes(heat_map: np.ndarray) -> bytes:
    """Return the bytes kept of a heat map."""
    buffer = io.BytesIO()
    np.save(buffer, heat_map, allow_pickle=False)
    return buffer.getvalue()


def heat_map_from_bytes(data: bytes) -> np.ndarray:
    """Inverse of ``heat_map_to_bytes``, unchecked. Raises BadInput on bytes that are no array."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"Not a heat map: {type(error).__name__}.") from None
    if not isinstance(found, np.ndarray):
        raise BadInput("Not a heat map: several arrays.")
    return found
