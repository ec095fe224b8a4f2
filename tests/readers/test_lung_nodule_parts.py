"""The steps of the lung-nodule reader on arrays whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from readingroom.imaging.volume import Volume
from readingroom.readers.lung_nodule import candidates, features, lungs, measure
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.segment import Segment


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """A ball with soft edges, 0..1, a voxel wide."""
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
    return np.clip(radius + 0.5 - distance, 0, 1)


def tube(shape: tuple[int, ...], row: float, column: float, radius: float) -> np.ndarray:
    """A vessel along the first axis."""
    rows, columns = np.meshgrid(*(np.arange(n) for n in shape[1:]), indexing="ij")
    plane = np.clip(radius + 0.5 - np.hypot(rows - row, columns - column), 0, 1)
    return np.broadcast_to(plane, shape)


def lung_with(*bright: np.ndarray, noise: float = 15.0, hu: float = 20.0) -> np.ndarray:
    shape = bright[0].shape
    image = np.full(shape, -860.0) + np.maximum.reduce(bright) * (hu + 860)
    return (image + np.random.default_rng(0).normal(size=shape) * noise).astype(np.int16)


def volume(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), **more: object) -> Volume:
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = (-50, 20, 300)
    uids = tuple(f"1.2.{n}" for n in range(len(array)))
    plain = Volume(array, affine, "1.2", "1.3", "1.4", "CT", "HU", uids, (1,) * len(array))
    return replace(plain, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [2.5, 5.0, 11.0])
@pytest.mark.parametrize("hu", [20.0, -550.0])
def test_a_ball_is_the_best_candidate_and_a_vessel_is_none(radius: float, hu: float) -> None:
    shape = (60, 60, 60)
    image = lung_with(ball(shape, (30, 22, 34), radius), hu=hu)
    vessel = lung_with(tube(shape, 48, 10, 2.5))
    image = np.where(tube(shape, 48, 10, 4) > 0, vessel, image)
    found = candidates.find_candidates(image, np.ones(shape, bool))
    assert np.linalg.norm(found.index[0] - (30, 22, 34)) < 1.5
    assert found.sigma[0] * np.sqrt(3) == pytest.approx(radius, rel=0.55)
    on_vessel = np.hypot(found.index[:, 1] - 48, found.index[:, 2] - 10) < 3
    strongest = np.abs(found.curvature[:, 0])
    assert not on_vessel.any() or strongest[on_vessel].max() < 0.25 * strongest[0]


def test_features_do_not_turn_with_the_image() -> None:
    shape = (51, 51, 51)
    image = lung_with(ball(shape, (25, 25, 25), 5), tube(shape, 25, 25, 1.5), noise=0.0)
    inside = np.ones(shape, bool)
    rows = []
    for turned in (image, image.transpose(2, 1, 0), np.ascontiguousarray(image[::-1, :, ::-1])):
        found = candidates.find_candidates(turned, inside)
        best = int(np.argmin(np.linalg.norm(found.index - 25, axis=1)))
        rows.append(features.compute(turned, inside, found)[best])
    for name in ("sigma", "core_hu", "ray_median", "sphericity_hessian", "bright_axis_2.2"):
        values = [row[features.NAMES.index(name)] for row in rows]
        assert values == pytest.approx([values[0]] * 3, rel=0.06), name


def test_resampling_keeps_places_and_bridges_a_gap() -> None:
    array = np.random.default_rng(1).integers(-1000, 400, (20, 30, 40)).astype(np.int16)
    array = ndimage.gaussian_filter(array, 2)
    thick = volume(array, (2.5, 0.8, 0.7))
    grid = resample(thick, 1.0)
    index = np.array([[10.0, 12.0, 9.0], [3.0, 2.0, 20.0], [40.0, 5.0, 7.0]])
    assert grid.from_source(grid.to_source(index)) == pytest.approx(index)
    expected = np.array([-50, 20, 300]) + index[:, ::-1]
    assert thick.to_lps(grid.to_source(index)) == pytest.approx(expected)

    positions = np.delete(np.arange(20) * 2.5, 7)
    uids = tuple(f"1.2.{n}" for n in range(19))
    gapped = volume(
        np.delete(array, 7, axis=0), (2.5, 0.8, 0.7), irregular=True, slice_positions_mm=tuple(positions),
        sop_instance_uids=uids,
    )  # fmt: skip
    bridged = resample(gapped, 1.0)
    assert bridged.hu.shape == grid.hu.shape
    assert (bridged.hu[25:] == grid.hu[25:]).all(), "past the gap nothing has moved"
    assert gapped.to_lps(bridged.to_source(index)) == pytest.approx(expected)


@pytest.mark.parametrize("spacing", [(2.5, 0.8, 0.7), (1.0, 1.0, 1.0), (0.6, 1.3, 0.9)])
def test_resampling_keeps_a_slope_along_each_axis(spacing: tuple[float, float, float]) -> None:
    index = np.meshgrid(*(np.arange(n) for n in (12, 20, 24)), indexing="ij")
    rates = (7.0, -5.0, 3.0)
    sloped = sum(i * s * rate for i, s, rate in zip(index, spacing, rates, strict=True))
    grid = resample(volume(np.rint(sloped).astype(np.int16), spacing), 1.0)
    mm = np.meshgrid(*(np.arange(n) for n in grid.hu.shape), indexing="ij")
    # Each axis rounds to whole HU once.
    assert np.abs(grid.hu - sum(i * rate for i, rate in zip(mm, rates, strict=True))).max() <= 2


def test_a_part_of_the_grid_is_the_same_as_the_whole_cut() -> None:
    array = np.random.default_rng(1).integers(-1000, 400, (20, 30, 40)).astype(np.int16)
    one = volume(array, (2.0, 0.8, 0.7))
    box = (slice(4, 30), slice(2, 20), slice(6, 22))
    part = resample(one, 1.0, box)
    assert (part.hu == resample(one, 1.0).hu[box]).all()
    assert part.to_source(np.zeros(3)) == pytest.approx([2.0, 2.5, 6 / 0.7])


def test_axes_and_volume_of_a_known_ellipse() -> None:
    shape = (21, 60, 60)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    turned_j, turned_i = (j - 30) * 0.8 + (i - 30) * 0.6, (i - 30) * 0.8 - (j - 30) * 0.6
    mask = ((k - 10) / 5) ** 2 + (turned_j / 20) ** 2 + (turned_i / 8) ** 2 <= 1
    fine = volume(np.where(mask, 30, -850).astype(np.int16), (1.0, 0.5, 0.5))
    source = measure.SourceMask(mask, (0, 0, 0))
    axes = measure.axes_of(source, fine)
    assert measure.length_mm(axes[0]) == pytest.approx(20, abs=0.8)
    assert measure.length_mm(axes[1]) == pytest.approx(8, abs=0.8)
    across = np.dot(
        np.subtract(axes[0].end_lps_mm, axes[0].start_lps_mm), np.subtract(axes[1].end_lps_mm, axes[1].start_lps_mm)
    )
    assert abs(across) < 2.0
    values = {m.code.meaning: m.value for m in measure.measurements_of(source, fine, axes)}
    assert values["Volume"] == pytest.approx(4 / 3 * np.pi * 5 * 10 * 4, rel=0.05)
    assert values["Diameter"] == pytest.approx(14, abs=0.8)
    assert values["Attenuation Coefficient"] == 30


def test_a_segment_of_one_voxel_still_has_measures() -> None:
    thin = volume(np.zeros((9, 9, 9), np.int16))
    piece = Segment(np.ones((1, 1, 1), bool), np.array([4, 4, 4]), np.array([4.0, 4, 4]), sure=True)
    source = measure.on_source(piece, resample(thin, 1.0), thin.array.shape)
    axes = measure.axes_of(source, thin)
    assert source.offset == (4, 4, 4)
    assert measure.length_mm(axes[0]) == pytest.approx(2**0.5, abs=0.01)


def test_no_lungs_in_a_block_of_tissue() -> None:
    block = np.full((60, 80, 80), -1000, np.int16)
    block[:, 10:70, 10:70] = 40
    assert lungs.aerated_lungs(block, 2.0, top_first=True).problem
    assert lungs.aerated_lungs(np.full((60, 80, 80), -1000, np.int16), 2.0, top_first=True).problem
    assert not lungs.lungs_in_crop(np.full((40, 40, 40), 40, np.int16)).any()
