"""From a series to what a network takes and back: axes, spacing, values, patches. Pure.

Each output axis depends on one input axis only, so resampling is three short lines, and a mask goes back by index.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from readingroom.imaging.volume import Volume
from readingroom.readers.packaged.manifest import LETTERS, Size, Spacing, Takes

ALONG = 0.9
"""Cosine between an array axis and the patient's that it stands for, at least: oblique volumes are not turned."""


@dataclass(frozen=True)
class Turn:
    """How the axes of a volume's array become those a network wants: first ordered, then flipped."""

    order: tuple[int, int, int]
    flips: tuple[int, ...]

    def there(self, array: np.ndarray) -> np.ndarray:
        return np.flip(array.transpose(self.order), self.flips)

    def back(self, array: np.ndarray) -> np.ndarray:
        return np.flip(array, self.flips).transpose(np.argsort(self.order))


def turn_of(volume: Volume, axes: str) -> Turn | None:
    """Return how ``volume`` turns to ``axes`` (three letters); None where it lies too oblique for that."""
    directions = volume.affine[:3, [2, 1, 0]] / np.array(volume.spacing_mm)
    order, flips = [], []
    for place, letter in enumerate(axes):
        patient, sign = LETTERS[letter]
        axis = int(np.abs(directions[patient]).argmax())
        if abs(directions[patient, axis]) < ALONG:
            return None
        order.append(axis)
        if directions[patient, axis] * sign < 0:
            flips.append(place)
    if len(set(order)) != 3:
        return None
    return Turn((order[0], order[1], order[2]), tuple(flips))


def wanted_shape(shape: Size, spacing_mm: Spacing, takes: Takes) -> Size:
    """Return the shape at the network's spacing of an array that has this shape and spacing."""
    target = takes.spacing_mm or spacing_mm
    a, b, c = (max(1, round(n * s / t)) for n, s, t in zip(shape, spacing_mm, target, strict=True))
    return a, b, c


def scale(array: np.ndarray, takes: Takes) -> np.ndarray:
    """Return the values as the network wants them, float32."""
    values = array.astype(np.float32)
    if takes.window is None:
        spread = float(values.std())
        return (values - np.float32(values.mean())) / np.float32(spread if spread > 0 else 1.0)
    low, high = takes.window
    values -= np.float32(low)
    values /= np.float32(high - low)
    return np.clip(values, 0, 1, out=values)


def resize(array: np.ndarray, shape: Size) -> np.ndarray:
    """Return ``array`` on ``shape`` voxels over the same extent, linear, float32."""
    for axis, count in enumerate(shape):
        at = _centres(array.shape[axis], count)
        low = np.floor(at).astype(int)
        weight = np.reshape((at - low).astype(np.float32), [-1 if n == axis else 1 for n in range(3)])
        high = np.minimum(low + 1, array.shape[axis] - 1)
        array = np.take(array, low, axis) * (1 - weight) + np.take(array, high, axis) * weight
    return array


def pick(array: np.ndarray, shape: Size) -> np.ndarray:
    """Return ``array`` on ``shape`` voxels over the same extent, the nearest voxel each: masks go back so."""
    lines = [np.rint(_centres(n, count)).astype(int) for n, count in zip(array.shape, shape, strict=True)]
    return array[np.ix_(*lines)]


def _centres(size: int, count: int) -> np.ndarray:
    """Where the centres of ``count`` voxels lie among those of ``size``, which cover the same."""
    return np.clip((np.arange(count) + 0.5) * size / count - 0.5, 0, size - 1)


def run_in_patches(
    array: np.ndarray,
    takes: Takes,
    channels: int,
    network: Callable[[np.ndarray], np.ndarray],
    done: Callable[[float], None],
) -> np.ndarray:
    """Return the network's scores ``(channels, ...)`` on the whole of ``array``: the mean where patches overlap.

    ``network``: ``(patch) -> (channels, patch)``. ``done``: told the part that is done.
    """
    padded = np.pad(array, [(0, max(0, s - n)) for n, s in zip(array.shape, takes.size, strict=True)])
    total = np.zeros((channels, *padded.shape), np.float32)
    times = np.zeros(padded.shape, np.float32)
    places = list(_places(padded.shape, takes))
    for number, place in enumerate(places, 1):
        total[:, *place] += network(padded[place])
        times[place] += 1
        done(number / len(places))
    total /= times
    return total[:, : array.shape[0], : array.shape[1], : array.shape[2]]


def _places(shape: tuple[int, ...], takes: Takes) -> Iterator[tuple[slice, slice, slice]]:
    lines = []
    for n, size in zip(shape, takes.size, strict=True):
        step = max(1, int(size * (1 - takes.overlap)))
        lines.append(sorted({*range(0, n - size, step), n - size}))
    for a, b, c in product(*lines):
        yield slice(a, a + takes.size[0]), slice(b, b + takes.size[1]), slice(c, c + takes.size[2])
