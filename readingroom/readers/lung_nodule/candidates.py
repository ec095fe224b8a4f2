"""Candidates: bright blobs of 3 to 30 mm, solid and ground-glass, by the Hessian of a Gaussian scale space.

Outside the lungs the image is set to the lung's own level, so that a nodule on the pleura is a blob like any other.
A place is a candidate where the scale-normalised Laplacian has a local maximum and the weakest curvature is still
negative (a blob curves down in all three directions, a vessel in two). After Lindeberg 1998 and Frangi 1998.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from readingroom.inference.session import threads

SIGMAS_FINE = (1.2, 1.7, 2.4)
SIGMAS_COARSE = (3.4, 4.8, 6.8, 9.0)
SIGMAS = SIGMAS_FINE + SIGMAS_COARSE
MIN_BLOB_HU = 12.0
"""Least scale-normalised weakest curvature, HU: low enough for ground glass."""
MIN_LAPLACE_HU = 40.0
MAX_PER_LITRE = 800
LOW_HU, HIGH_HU = -1000.0, 100.0
_NEIGHBOURS = sorted(set(product((-1, 0, 1), repeat=3)) - {(0, 0, 0)}, key=lambda n: (np.abs(n).sum(), n))


@dataclass(frozen=True, eq=False)
class Candidates:
    """``index``: ``(n, 3)`` fractional grid indices; ``sigma``: ``(n,)`` mm; ``curvature``: ``(n, 3)`` eigenvalues of
    the scale-normalised Hessian, HU, weakest first; ``responses``: ``(n, scales)`` Laplacian at every scale, HU."""

    index: np.ndarray
    sigma: np.ndarray
    curvature: np.ndarray
    responses: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def take(self, which: np.ndarray) -> "Candidates":
        return Candidates(self.index[which], self.sigma[which], self.curvature[which], self.responses[which])


def lung_level(hu: np.ndarray, lungs: np.ndarray) -> float:
    """The usual HU of air-filled lung here."""
    inside = hu[lungs]
    inside = inside[inside < -500][::7]
    return float(np.median(inside)) if inside.size else -850.0


def find_candidates(hu: np.ndarray, lungs: np.ndarray) -> Candidates:
    """Return candidates in ``hu`` (1 mm grid) inside ``lungs`` (bool, same shape), strongest blob first."""
    level = lung_level(hu, lungs)
    filled = np.clip(hu, LOW_HU, HIGH_HU).astype(np.float32)
    filled[~lungs] = level
    limit = max(40, int(MAX_PER_LITRE * lungs.sum() / 1e6))
    smooth, done, shrunk = filled, 0.0, 1
    jobs = []
    # Filters let go of the interpreter: blobs of one scale are sought while the next is smoothed.
    with ThreadPoolExecutor(threads()) as pool:
        for scale in SIGMAS:
            if scale in SIGMAS_COARSE and shrunk == 1:
                smooth, shrunk = _halve(smooth), 2
                lungs = lungs[: smooth.shape[0] * 2 : 2, : smooth.shape[1] * 2 : 2, : smooth.shape[2] * 2 : 2]
            width = np.sqrt(scale**2 - done**2) / shrunk
            smooth, done = ndimage.gaussian_filter(smooth, width, truncate=3.0, mode="nearest"), scale
            jobs.append(pool.submit(_blobs, smooth, lungs, scale, shrunk))
        blobs = [job.result() for job in jobs]
    laplacians = [b[0] for b in blobs]
    places = [b[1] if scale in SIGMAS_FINE else b[1] * 2.0 + 0.5 for b, scale in zip(blobs, SIGMAS, strict=True)]
    index, curvature = np.concatenate(places), np.concatenate([b[2] for b in blobs])
    sigma = np.concatenate([np.full(len(b[1]), scale) for b, scale in zip(blobs, SIGMAS, strict=True)])
    # Noise falls as the scale grows: without the factor, small specks would crowd out large faint blobs.
    order = np.argsort(-np.abs(curvature[:, 0]) * sigma, kind="stable")
    order = order[: 4 * limit]
    index, curvature, sigma = index[order], curvature[order], sigma[order]
    keep = _suppress(index, sigma)[:limit]
    index, curvature, sigma = index[keep], curvature[keep], sigma[keep]
    responses = np.empty((len(index), len(SIGMAS)), np.float32)
    for n, laplacian in enumerate(laplacians):
        fine = n < len(SIGMAS_FINE)
        at = index if fine else (index - 0.5) / 2
        responses[:, n] = ndimage.map_coordinates(laplacian, at.T, order=1, mode="nearest")
    return Candidates(index, sigma, curvature, responses)


def _halve(array: np.ndarray) -> np.ndarray:
    even = array[: array.shape[0] // 2 * 2, : array.shape[1] // 2 * 2, : array.shape[2] // 2 * 2]
    a, b, c = (n // 2 for n in even.shape)
    return even.reshape(a, 2, b, 2, c, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def _blobs(smooth: np.ndarray, lungs: np.ndarray, sigma: float, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale-normalised Laplacian (sign turned: bright blobs positive), its maxima and the curvatures there."""
    factor = np.float32((sigma / step) ** 2)
    laplacian = ndimage.laplace(smooth, mode="nearest")
    laplacian *= -factor
    index = _peaks(laplacian, (laplacian > MIN_LAPLACE_HU) & lungs)
    if not len(index):
        return laplacian, np.zeros((0, 3)), np.zeros((0, 3))
    curvature = _hessian_eigenvalues(smooth, index) * factor
    keep = curvature[:, 0] < -MIN_BLOB_HU
    return laplacian, index[keep].astype(float), curvature[keep]


def _peaks(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Indices ``(n, 3)`` of the voxels of ``among`` that none of their 26 neighbours exceeds."""
    # Few voxels are asked about, and most of them fall out at the first neighbours: faster than a maximum filter.
    padded = np.pad(values, 1, constant_values=-np.inf)
    _, rows, columns = padded.shape
    steps = np.array([(k * rows + j) * columns + i for k, j, i in _NEIGHBOURS])
    places = np.flatnonzero(np.pad(among, 1))
    flat = padded.ravel()
    for step in steps:
        places = places[flat[places] >= flat[places + step]]
    return np.stack(np.unravel_index(places, padded.shape), axis=1) - 1


def _hessian_eigenvalues(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Eigenvalues ``(n, 3)`` of the Hessian by central differences, weakest (nearest to 0 or positive) first."""
    limits = np.array(array.shape) - 1

    def at(*offset: int) -> np.ndarray:
        where = np.clip(index + np.array(offset), 0, limits)
        return array[tuple(where.T)].astype(np.float64)

    hessian = np.empty((len(index), 3, 3))
    unit = np.eye(3, dtype=int)
    here = at(0, 0, 0)
    for a in range(3):
        hessian[:, a, a] = at(*unit[a]) + at(*-unit[a]) - 2 * here
        for b in range(a):
            plus, minus = unit[a] + unit[b], unit[a] - unit[b]
            mixed = (at(*plus) + at(*-plus) - at(*minus) - at(*-minus)) / 4
            hessian[:, a, b] = hessian[:, b, a] = mixed
    return np.linalg.eigvalsh(hessian)[:, ::-1]


def _suppress(index: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Indices of those kept: a weaker blob whose centre lies well inside a stronger one of like size goes."""
    tree = cKDTree(index) if len(index) else None
    gone = np.zeros(len(index), bool)
    for n in range(len(index)):
        if gone[n] or tree is None:
            continue
        near = np.array(tree.query_ball_point(index[n], max(2.0, 0.9 * sigma[n])))
        distance = np.linalg.norm(index[near] - index[n], axis=1)
        inside = distance < np.maximum(2.0, 0.9 * np.minimum(sigma[near], sigma[n]))
        gone[near[inside & (near > n)]] = True
    return np.flatnonzero(~gone)
