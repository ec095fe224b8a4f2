"""Where the head is in a stack of brain-windowed slices, and the square that the network sees of it.

The windowed slices of the set say nothing of millimetres, so that what the network sees is scaled by the head itself:
the box of the largest sections of the scan, the same square on every slice, ``SEEN`` pixels wide.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.core.errors import BadInput

SEEN = 160
MARGIN = 1.1
TISSUE = 25
"""Grey above which a pixel is the head's or the table's: about -8 HU."""
SKULL = 235
"""Grey from which a pixel is bone: about 90 HU."""
LARGE = 0.85
"""Sections of at least this share of the largest one (its 95th percentile) give the box."""
LEAST = 0.03
"""Of the image; where the largest section is smaller there is no head."""


@dataclass(frozen=True)
class Square:
    """The middle (row, column) and the side of what is seen, in pixels of the stack."""

    row: float
    column: float
    side: float

    def to_stack(self, row: float, column: float) -> tuple[float, float]:
        """Row and column in the stack of a place in the picture seen, whose pixels are ``SEEN`` a side."""
        step = self.side / SEEN
        middle = (SEEN - 1) / 2
        return self.row + (row - middle) * step, self.column + (column - middle) * step


def find_head(stack: np.ndarray) -> Square:
    """Return the square around the head of uint8 ``(n, rows, columns)``. Raises BadInput where there is none."""
    sections = [_section(grey) for grey in stack]
    areas = np.array([s.sum() for s in sections], float)
    large = float(np.percentile(areas, 95))
    if large < LEAST * stack[0].size:
        raise BadInput("No head can be made out on these slices.")
    union = np.any([s for s, a in zip(sections, areas, strict=True) if a >= LARGE * large], axis=0)
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    middle = float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2
    return Square(*middle, MARGIN * float(max(tall, wide)))


def _section(grey: np.ndarray) -> np.ndarray:
    """The largest connected part of the tissue: the table is thin and apart."""
    tissue = ndimage.binary_opening(grey > TISSUE, iterations=1)
    labelled, count = ndimage.label(tissue)
    if not count:
        return np.zeros(grey.shape, bool)
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return np.asarray(labelled == sizes.argmax())


def seen(stack: np.ndarray, square: Square) -> np.ndarray:
    """Return the square of every slice as uint8 ``(n, SEEN, SEEN)``; 0 beyond the image."""
    step = square.side / SEEN
    first = square.to_stack(0, 0)
    out = [
        ndimage.affine_transform(
            grey.astype(np.float32), (step, step), first, (SEEN, SEEN), order=1, mode="constant", cval=0.0
        )
        for grey in stack
    ]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def inside(grey: np.ndarray) -> np.ndarray:
    """Return what lies within a closed skull on one slice, bool; nothing where the skull is open."""
    bone = ndimage.binary_closing(np.pad(grey >= SKULL, 4), iterations=2)[4:-4, 4:-4]
    within = ndimage.binary_opening(ndimage.binary_fill_holes(bone) & ~bone, iterations=2)
    labelled, count = ndimage.label(within)
    if not count:
        return np.zeros(grey.shape, bool)
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return np.asarray(labelled == sizes.argmax())


def neighbours(stack: np.ndarray) -> np.ndarray:
    """Return each slice with the one below and the one above it, ``(n, 3, rows, columns)``; ends repeat themselves."""
    padded = np.concatenate([stack[:1], stack, stack[-1:]])
    return np.stack([padded[:-2], padded[1:-1], padded[2:]], axis=1)
