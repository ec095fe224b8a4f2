"""Features of a candidate: scale-space responses, rays, shells and the lung around it. All rotation-invariant.

Rays run from the candidate's centre in ``DIRECTIONS`` directions, one sample a millimetre. Where a ray falls below half
of the step from lung to centre is the surface in that direction: a nodule's rays end alike, a vessel's run on along one
axis, a wall's on one side. Features are in groups (``GROUPS``), the unit in which a score is explained.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from readingroom.inference.session import threads
from readingroom.readers.lung_nodule.candidates import HIGH_HU, LOW_HU, SIGMAS, Candidates, lung_level

DIRECTIONS = 128
REACH_MM = 24
SHELLS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22)
_CHUNK = 256


def _fibonacci(count: int) -> np.ndarray:
    """``(count, 3)`` unit vectors spread evenly over the sphere."""
    n = np.arange(count) + 0.5
    z = 1 - 2 * n / count
    turn = np.pi * (1 + 5**0.5) * n
    ring = np.sqrt(1 - z**2)
    return np.stack([z, ring * np.sin(turn), ring * np.cos(turn)], axis=1)


RAYS = _fibonacci(DIRECTIONS)


def _names() -> tuple[list[str], list[str]]:
    names: list[str] = []
    groups: list[str] = []

    def add(group: str, *more: str) -> None:
        names.extend(more)
        groups.extend([group] * len(more))

    add("blob shape", "curvature_weak", "curvature_middle", "curvature_strong", "curvature_ratio_weak")
    add("blob shape", "curvature_ratio_middle", "sphericity_hessian")
    add("size", "sigma", *(f"laplace_{s}" for s in SIGMAS))
    add("blob shape", *(f"laplace_share_{s}" for s in SIGMAS))
    add("density", "centre_hu", "core_hu", "contrast_hu", "peak_hu", "core_spread_hu")
    add("size", "ray_median", "ray_p10", "ray_p90", "ray_min", "ray_max")
    add("outline", "ray_spread", "ray_ratio_10_90", "ray_elongation", "ray_flatness", "ray_opposed", "ray_open")
    add("outline", "edge_step_mean", "edge_step_p10", "edge_step_spread")
    for factor in ("1.3", "1.7", "2.2", "3.0"):
        add(
            "attachments", f"bright_{factor}", f"bright_one_sided_{factor}", f"bright_axis_{factor}",
            f"bright_plane_{factor}", f"mean_{factor}", f"p90_{factor}", f"p10_{factor}",
        )  # fmt: skip
    add("density", *(f"shell_mean_{r}" for r in SHELLS))
    add("outline", *(f"shell_spread_{r}" for r in SHELLS[2:]))
    add("attachments", *(f"shell_bright_{r}" for r in SHELLS[2:]))
    add("surroundings", "lung_5", "lung_10", "lung_15", "lung_20", "depth_mm")
    add("surroundings", "open_to_edge_5", "open_to_edge_10")
    return names, groups


NAMES, GROUPS_OF = _names()
GROUPS = tuple(dict.fromkeys(GROUPS_OF))


def compute(hu: np.ndarray, lungs: np.ndarray, found: Candidates) -> np.ndarray:
    """Return ``(n, len(NAMES))`` float32 features of ``found`` in ``hu`` (1 mm grid) with its ``lungs`` mask."""
    level = lung_level(hu, lungs)
    image = np.clip(hu, LOW_HU, HIGH_HU).astype(np.float32)
    depth = _depth(lungs)
    parts = [found.take(np.arange(n, min(n + _CHUNK, len(found)))) for n in range(0, len(found), _CHUNK)]
    # The interpolation lets go of the interpreter, so threads help; the order of the rows stays.
    with ThreadPoolExecutor(threads()) as pool:
        rows = list(pool.map(lambda part: _chunk(image, depth, level, part), parts))
    if not rows:
        return np.zeros((0, len(NAMES)), np.float32)
    return np.nan_to_num(np.concatenate(rows)).astype(np.float32)


def _depth(lungs: np.ndarray) -> np.ndarray:
    """Depth inside the lung, mm, negative outside, within 15, on every other voxel (2 mm is enough for it)."""
    coarse = lungs[::2, ::2, ::2]
    inner = ndimage.distance_transform_edt(coarse) if not coarse.all() else np.full(coarse.shape, 99.0)
    outer = ndimage.distance_transform_edt(~coarse) if coarse.any() else np.full(coarse.shape, 99.0)
    return np.clip(2 * (inner - outer), -15, 15).astype(np.float32)


def _chunk(image: np.ndarray, depth: np.ndarray, level: float, found: Candidates) -> np.ndarray:
    n = len(found)
    steps = np.arange(0, REACH_MM + 1, dtype=np.float32)
    points = found.index[:, None, None, :] + RAYS[None, :, None, :] * steps[None, None, :, None]
    inside = ((points >= 0) & (points <= np.array(image.shape) - 1)).all(axis=-1)
    rays = ndimage.map_coordinates(image, points.reshape(-1, 3).T, order=1, mode="nearest").reshape(points.shape[:3])
    # Beyond the data nothing is known: the lung's own level says neither vessel nor wall.
    rays = np.where(inside, rays, np.float32(level))
    deep = ndimage.map_coordinates(depth, (points[:, :, ::5] / 2).reshape(-1, 3).T, order=0, mode="nearest")
    deep = deep.reshape(n, DIRECTIONS, -1)
    columns: list[np.ndarray] = []
    weak, middle, strong = found.curvature[:, 0], found.curvature[:, 1], found.curvature[:, 2]
    scale = np.abs(strong) + 1e-3
    columns += [weak, middle, strong, weak / strong, middle / strong, np.abs(weak * middle) / scale**2]
    best = np.abs(found.responses).max(axis=1, keepdims=True) + 1.0
    columns += [found.sigma, *found.responses.T, *(found.responses / best).T]

    core = rays[:, :, 0:3].reshape(n, -1)
    core_hu = core.mean(axis=1)
    contrast = core_hu - level
    columns += [rays[:, 0, 0], core_hu, contrast, rays[:, :, :5].max(axis=(1, 2)), core.std(axis=1)]

    half = (level + 0.5 * contrast)[:, None, None]
    below = rays < half
    below[:, :, -1] = True
    length = below.argmax(axis=2).astype(np.float32)
    low, p10, median, p90, high = np.percentile(length, (0, 10, 50, 90, 100), axis=1)
    columns += [median, p10, p90, low, high]
    ends = RAYS[None] * length[:, :, None]
    moments = np.einsum("nda,ndb->nab", ends, ends) / DIRECTIONS
    size = np.linalg.eigvalsh(moments)
    # Directions come as a sphere, so the opposite of a ray is the nearest to its negative.
    opposed = np.minimum(length, length[:, _OPPOSITE]).max(axis=1) / np.maximum(median, 1)
    columns += [
        length.std(axis=1) / np.maximum(length.mean(axis=1), 1), p10 / np.maximum(p90, 1),
        np.sqrt(size[:, 2] / np.maximum(size[:, 0], 0.1)), np.sqrt(size[:, 1] / np.maximum(size[:, 0], 0.1)),
        opposed, (length >= REACH_MM - 1).mean(axis=1),
    ]  # fmt: skip
    at = np.clip(length.astype(int), 1, REACH_MM - 1)
    before = np.take_along_axis(rays, np.maximum(at - 1, 0)[:, :, None], axis=2)[:, :, 0]
    after = np.take_along_axis(rays, (at + 1)[:, :, None], axis=2)[:, :, 0]
    edge = (before - after) / np.maximum(contrast, 50)[:, None]
    columns += [edge.mean(axis=1), np.percentile(edge, 10, axis=1), edge.std(axis=1)]

    for factor in (1.3, 1.7, 2.2, 3.0):
        reach = np.clip(np.rint(np.maximum(median, 1.5) * factor + 0.5), 2, REACH_MM).astype(int)
        shell = np.take_along_axis(rays, reach[:, None, None], axis=2)[:, :, 0]
        columns += _shell_shape(shell, half[:, :, 0])
        columns += [
            (shell.mean(axis=1) - level) / np.maximum(contrast, 50),
            (np.percentile(shell, 90, axis=1) - level) / np.maximum(contrast, 50),
            (np.percentile(shell, 10, axis=1) - level) / np.maximum(contrast, 50),
        ]
    shells = rays[:, :, list(SHELLS)]
    columns += [*(shells.mean(axis=1) - level).T]
    columns += [*shells[:, :, 2:].std(axis=1).T]
    columns += [*(shells[:, :, 2:] > half).mean(axis=1).T]
    columns += [(deep[:, :, r] > 0).mean(axis=1) for r in (1, 2, 3, 4)]
    columns += [deep[:, 0, 0]]
    columns += [(shells[:, :, s] < level + 100).mean(axis=1) for s in (5, 8)]
    return np.stack([np.asarray(c, np.float32) for c in columns], axis=1)


def _shell_shape(shell: np.ndarray, threshold: np.ndarray) -> list[np.ndarray]:
    """How much of a shell is bright, whether on one side, along one axis (vessel) or in a plane (wall, fissure)."""
    bright = (shell > threshold).astype(np.float32)
    count = np.maximum(bright.sum(axis=1), 1)
    mean = np.linalg.norm(bright @ RAYS, axis=1) / count
    moments = np.einsum("nd,da,db->nab", bright, RAYS, RAYS) / count[:, None, None]
    size = np.linalg.eigvalsh(moments)
    return [bright.mean(axis=1), mean, size[:, 2], size[:, 1]]


_OPPOSITE = (RAYS @ -RAYS.T).argmax(axis=1)
