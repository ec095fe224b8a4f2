"""Masks against masks: Dice, volume bias, surface distances, surface Dice and lesion by lesion.

Masks are bool of one shape in any number of dimensions, ``spacing_mm`` one number an axis. Definitions follow Reinke
2024, Nature Methods 21:182, and the surface measures Nikolov 2021 (JMIR 23:e26151) in their plainer voxel form: the
surface of a mask is those of its voxels with a face neighbour outside it (the world beyond the array is outside), each
weighing the same; distances run between voxel centres. Marching-cubes implementations weigh by area and differ by
fractions of a voxel.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from readingroom.evaluation.detection import Lesion, Mark, Matched, match


def dice(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return the Dice coefficient; 1 where both are empty (nothing to find, nothing found)."""
    reference, predicted = _checked(reference, predicted)
    total = int(reference.sum()) + int(predicted.sum())
    return 2 * int((reference & predicted).sum()) / total if total else 1.0


def volume_bias_percent(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Return 100 (predicted - reference) / reference. Raises ValueError for an empty reference."""
    reference, predicted = _checked(reference, predicted)
    if not reference.any():
        raise ValueError("the reference is empty: a volume bias needs one")
    return 100 * (int(predicted.sum()) / int(reference.sum()) - 1)


@dataclass(frozen=True)
class SurfaceDistances:
    """``hd95_mm``: the larger of both directions' 95th percentiles; ``assd_mm``: mean over both surfaces together;
    ``surface_dice``: share of both surfaces within ``tolerance_mm`` of the other. All None where one mask is empty and
    the other is not; 0, 0 and 1 where both are.
    """

    hd95_mm: float | None
    hausdorff_mm: float | None
    assd_mm: float | None
    surface_dice: float
    tolerance_mm: float


def surface_distances(
    reference: np.ndarray, predicted: np.ndarray, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> SurfaceDistances:
    """Return distances between the surfaces of two masks, both directions."""
    reference, predicted = _checked(reference, predicted)
    if len(spacing_mm) != reference.ndim:
        raise ValueError("the spacing needs one number an axis")
    if not reference.any() or not predicted.any():
        same = not reference.any() and not predicted.any()
        none = 0.0 if same else None
        return SurfaceDistances(none, none, none, float(same), tolerance_mm)
    # Trees of the surface points: a distance map would work on every voxel of the box to be read at few.
    edge_r, edge_p = (np.argwhere(_surface(mask)) * np.asarray(spacing_mm) for mask in (reference, predicted))
    to_p, to_r = cKDTree(edge_p).query(edge_r)[0], cKDTree(edge_r).query(edge_p)[0]
    every = np.concatenate([to_p, to_r])
    return SurfaceDistances(
        hd95_mm=float(max(np.percentile(to_p, 95), np.percentile(to_r, 95))),
        hausdorff_mm=float(every.max()),
        assd_mm=float(every.mean()),
        surface_dice=float((every <= tolerance_mm + 1e-9).mean()),
        tolerance_mm=tolerance_mm,
    )


def _surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbour outside it. Only the mask's own box is worked on."""
    box = tuple(slice(int(h.min()), int(h.max()) + 1) for h in _extent(mask))
    small = mask[box]
    padded = np.pad(small, 1)
    middle = (slice(1, -1),) * mask.ndim
    inner = small.copy()
    for axis in range(mask.ndim):
        for shift in (slice(0, -2), slice(2, None)):
            inner &= padded[(*middle[:axis], shift, *middle[axis + 1 :])]
    found = np.zeros_like(mask)
    found[box] = small & ~inner
    return found


def _extent(mask: np.ndarray) -> list[np.ndarray]:
    """For each axis the indices at which the mask holds anything."""
    axes = range(mask.ndim)
    return [np.flatnonzero(mask.any(axis=tuple(a for a in axes if a != axis))) for axis in axes]


def lesion_wise(
    reference: np.ndarray, predicted: np.ndarray, spacing_mm: tuple[float, ...], least_overlap: float = 0.1
) -> tuple[Matched, tuple[float, ...]]:
    """Return how lesions (connected parts, corners counting) were matched, and the Dice of each found one.

    A predicted part hits the lesion it shares most with where their intersection over union is at least
    ``least_overlap``.
    """
    reference, predicted = _checked(reference, predicted)
    every = np.ones((3,) * reference.ndim)
    lesions, n = ndimage.label(reference, every)
    parts, m = ndimage.label(predicted, every)
    shared = np.zeros((m + 1, n + 1), int)
    np.add.at(shared, (parts.ravel(), lesions.ravel()), 1)
    size_p, size_l = shared.sum(axis=1), shared.sum(axis=0)
    hits = []
    for part in range(1, m + 1):
        union = size_p[part] + size_l[1:] - shared[part, 1:]
        ratio = shared[part, 1:] / union if n else np.zeros(0)
        hits.append(int(ratio.argmax()) if n and ratio.max() >= least_overlap else None)
    scores = [float(size_p[part]) for part in range(1, m + 1)]
    marks = [Mark(score, hit) for score, hit in zip(scores, hits, strict=True)]
    matched = match([Lesion()] * n, marks)
    best: dict[int, float] = {}
    for part, hit in enumerate(hits, 1):
        if hit is not None:
            value = 2 * shared[part, hit + 1] / (size_p[part] + size_l[hit + 1])
            best[hit] = max(best.get(hit, 0.0), float(value))
    return matched, tuple(best[hit] for hit in sorted(best))


def _checked(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, predicted = np.asarray(reference).astype(bool), np.asarray(predicted).astype(bool)
    if reference.shape != predicted.shape:
        raise ValueError(f"masks of different shapes, {reference.shape} and {predicted.shape}")
    return reference, predicted
