"""Midline shift of made heads whose shift is known, and of what is no head; real heads where the data are there."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from readingroom.imaging.resample import Region
from readingroom.readers.head_ct_triage.midline import (
    MidlineShift,
    NoMidline,
    SliceShift,
    measure,
    measure_slice,
    windowed_head,
)

SLICES, SIZE, PIXEL, STEP = 22, 180, 1.0, 5.0
AFFINE = np.diag([STEP, PIXEL, PIXEL, 1.0])[[2, 1, 0, 3]]


@lru_cache
def _texture() -> np.ndarray:
    """Grey and white matter of a head, alike on both sides: smooth, and the same whenever asked for."""
    random = np.random.default_rng(5)
    half = ndimage.gaussian_filter(random.normal(0, 1, (SLICES, SIZE, SIZE)), (0.8, 4, 4))
    return np.asarray((half + half[:, :, ::-1]) / 2 * 120)


@lru_cache
def made_head(
    push_mm: float = 0.0,
    turn: float = 0.0,
    lean: float = 0.0,
    aside: float = 0.0,
    flat: float = 0.0,
    noise: float = 3.0,
) -> np.ndarray:
    """HU ``(z, y, x)`` of a skull with brain, ventricles, falx and crests. The middle is pushed by ``push_mm`` at most.

    ``turn``, ``lean``: radians; ``aside``: mm. ``flat``: mm the skull lacks behind on the right.
    """
    z, y, x = np.meshgrid(
        np.arange(SLICES) * STEP, np.arange(SIZE) * PIXEL - SIZE / 2, np.arange(SIZE) * PIXEL - SIZE / 2, indexing="ij"
    )
    x = x - aside - lean * (z - 60)
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    shape = np.sqrt(np.clip(1 - (z / 130) ** 2, 0.05, 1))
    across = np.where((x < 0) & (y > 0), 66 - flat, 66) * shape
    radius = np.hypot(x / across, y / (82 * shape))
    depth = (1 - radius) * 66 * shape
    hill = np.exp(-((y + 4) ** 2 / 45**2) - (z - 55) ** 2 / 35**2 - x**2 / 40**2)
    was = x - push_mm * hill * (1 - np.exp(-((np.maximum(depth, 0) / 10) ** 2)))
    column = np.clip(was + SIZE / 2, 0, SIZE - 1)
    row = np.clip(y + SIZE / 2, 0, SIZE - 1)
    level = np.broadcast_to(np.arange(SLICES)[:, None, None], x.shape)
    hu = 32 + ndimage.map_coordinates(_texture(), [level, row, column], order=1)
    ventricles = (np.abs(z - 55) < 22) & (np.hypot((np.abs(was) - 9) / 6, (y + 8) / 26) < 1)
    third = (np.abs(z - 35) < 10) & (np.hypot(was / 3, (y - 2) / 16) < 1)
    hu[ventricles | third] = 6
    hu[(np.abs(was) < 1.2) & (np.abs(y) > 34)] = 52
    hu += np.random.default_rng(1).normal(0, 3.0, hu.shape)
    crest = (np.abs(x) < 2.5) & (depth < 6)
    hu[crest | (depth < 0)] = 300
    hu[depth < -8] = -1000
    return np.asarray(hu, np.float32)


def shift(hu: np.ndarray) -> MidlineShift:
    found = measure(Region(hu, AFFINE))
    assert isinstance(found, MidlineShift), found
    return found


@pytest.mark.parametrize("mm", [0.0, -7.0, 12.0])
def test_a_known_push_is_measured(mm: float) -> None:
    found = shift(made_head(mm))
    assert found.shift_mm == pytest.approx(mm, abs=max(1.0, 0.18 * abs(mm)))
    if mm:
        assert found.side == ("left" if mm > 0 else "right")
        # The level is that of the hill's top, to two slices; the place is on the pushed midline.
        assert abs(found.level * STEP - 55) <= 2 * STEP
        assert found.place[0] - (SIZE / 2) == pytest.approx(mm, abs=2.5)
    assert 0.45 < found.confidence <= 1


@pytest.mark.parametrize("keywords", [{"turn": -0.15, "lean": 0.08}, {"aside": 10.0, "flat": 6.0}])
def test_how_the_head_lies_is_nothing_to_it(keywords: dict[str, float]) -> None:
    assert shift(made_head(7.0, **keywords)).shift_mm == pytest.approx(7.0, abs=1.5)


def test_a_mirrored_head_has_the_opposite_shift() -> None:
    hu = made_head(7.0)
    assert shift(hu[:, :, ::-1]).shift_mm == pytest.approx(-shift(hu).shift_mm, abs=0.5)


def test_the_evidence_lies_in_the_patient() -> None:
    """Two lines a slice in LPS mm, also where the array is finer and lies elsewhere."""
    hu = ndimage.zoom(made_head(7.0), (1, 2, 2), order=1, grid_mode=True, mode="nearest")
    affine = np.diag([STEP, 0.5, 0.5, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = (-SIZE / 2, -90.0, 400.0)
    found = measure(Region(hu, affine))
    assert isinstance(found, MidlineShift)
    assert found.shift_mm == pytest.approx(7.0, abs=1.5)
    assert found.place[2] == pytest.approx(400 + STEP * found.level, abs=0.01)
    line = found.lines[found.level]
    assert len(line.ideal) == len(line.actual) > 20
    assert {point[2] for point in line.ideal + line.actual} == {found.place[2]}
    ideal, actual = np.array(line.ideal), np.array(line.actual)
    # The skull's middle is at x = 0; both lines run to the back.
    assert np.abs(ideal[:, 0]).max() < 1.5
    assert (np.diff(ideal[:, 1]) > 0).all()
    assert (actual - ideal)[:, 0].max() == pytest.approx(7.0, abs=1.5)
    assert found.lines[found.level].shift_mm == pytest.approx(found.shift_mm, abs=1.5)


def test_thin_slices_are_read_as_thick_ones() -> None:
    thin = ndimage.zoom(made_head(7.0), (4, 1, 1), order=1, grid_mode=True, mode="nearest")
    affine = np.diag([STEP / 4, PIXEL, PIXEL, 1.0])[[2, 1, 0, 3]]
    found = measure(Region(thin, affine))
    assert isinstance(found, MidlineShift)
    assert found.shift_mm == pytest.approx(7.0, abs=1.5)
    assert 12 * 4 - 40 < found.level < 12 * 4 + 40


def _noise() -> np.ndarray:
    return np.random.default_rng(0).normal(30, 200, (SLICES, SIZE, SIZE)).astype(np.float32)


def _water() -> np.ndarray:
    hu = made_head().copy()
    hu[(hu > -500) & (hu < 200)] = 0
    return hu + np.random.default_rng(2).normal(0, 4, hu.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("no_head", "why"),
    [
        (_noise, "no closed skull"),
        (lambda: np.full((SLICES, SIZE, SIZE), -1000, np.float32), "no closed skull"),
        (lambda: made_head()[:, :, : SIZE // 2], "no closed skull"),
        (lambda: made_head()[:, : SIZE // 2], "no closed skull"),
        (lambda: made_head()[-3:], "too few slices"),
        (lambda: -made_head(), "no closed skull"),
        (_water, "too unlike"),
    ],
)
def test_what_is_no_head_gets_a_reason(no_head: Callable[[], np.ndarray], why: str) -> None:
    found = measure(Region(no_head(), AFFINE))
    assert isinstance(found, NoMidline)
    assert why in found.reason.lower()


def test_coarse_or_oblique_slices_are_declined() -> None:
    hu = made_head()
    assert isinstance(measure(Region(hu, AFFINE @ np.diag([2.0, 1, 1, 1]))), NoMidline)
    coronal = np.diag([1.0, 1.0, 1.0, 1.0])
    coronal[:3, :3] = [[0, 0, 1], [0.8, 0.6, 0], [-0.6, 0.8, 0]]
    assert isinstance(measure(Region(hu, coronal)), NoMidline)


def test_one_slice_with_and_without_a_pixel_size() -> None:
    hu = made_head(9.0)[11]
    found = measure_slice(hu, pixel_mm=1.0)
    assert isinstance(found, SliceShift)
    assert found.shift_mm == pytest.approx(9.0, abs=1.5)
    assert found.shift_pixels == found.shift_mm
    small = ndimage.zoom(hu, 0.8, order=1, grid_mode=True, mode="nearest")
    unknown = measure_slice(small)
    assert isinstance(unknown, SliceShift)
    assert unknown.shift_mm is None
    assert unknown.shift_pixels == pytest.approx(9.0 * 0.8, abs=1.5)
    # The skull is 2 x (66 + 8) mm wide there, a little less at this height.
    assert unknown.percent == pytest.approx(100 * 9 / 142, abs=1.5)
    columns, rows = np.array(unknown.actual).T
    assert (columns - np.array(unknown.ideal)[:, 0]).max() == pytest.approx(7.2, abs=2)
    assert rows.max() < small.shape[0]
    assert isinstance(measure_slice(np.zeros((64, 64), np.float32)), NoMidline)


def test_windowed_pictures_make_a_head() -> None:
    pictures = np.clip((made_head(7.0) + 20) / 120 * 255, 0, 255).astype(np.uint8)
    head = windowed_head(pictures)
    assert isinstance(head, Region)
    # The skull of the made head is 148 mm wide, it is taken for 150.
    assert head.spacing_mm[1] == pytest.approx(150 / 148, rel=0.03)
    found = measure(head)
    assert isinstance(found, MidlineShift)
    assert found.shift_mm == pytest.approx(7.0, abs=1.5)
    assert isinstance(windowed_head(np.zeros((10, 64, 64), np.uint8)), NoMidline)


@pytest.mark.data
def test_real_heads(shared_data: Path) -> None:
    """Of patients without haemorrhage the shift is small, and of the mirrored head the opposite."""
    for patient in (101, 118):
        files = sorted((shared_data / "head_ct_ich" / "brain").glob(f"{patient:03}_*.jpg"))
        head = windowed_head(np.stack([np.asarray(Image.open(file)) for file in files]))
        assert isinstance(head, Region)
        found, mirrored = measure(head), measure(Region(head.array[:, :, ::-1], head.to_lps_affine))
        assert isinstance(found, MidlineShift)
        assert isinstance(mirrored, MidlineShift)
        assert abs(found.shift_mm) < 3
        assert mirrored.shift_mm == pytest.approx(-found.shift_mm, abs=0.5)
