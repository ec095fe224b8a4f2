"""A constructed head is found where it was put, and what is no whole upright T1 head is not taken for one."""

import numpy as np
import pytest
from mr_head_support import Head, head, volume_of

from readingroom.imaging.volume import Volume
from readingroom.readers.hippocampus import limits, sides
from readingroom.readers.hippocampus.crops import SHAPE
from readingroom.readers.hippocampus.head import CENTRES, Placed, place

LYING = {"degrees": (9, -7, 11), "scale": (1.06, 0.94, 1.02), "shift_mm": (8, -12, 15)}


@pytest.fixture(scope="module")
def lying() -> tuple[Head, Placed]:
    made = head(**LYING)  # type: ignore[arg-type]
    placed = place(made.volume)
    assert placed is not None
    return made, placed


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_hippocampus_is_where_it_was_put(lying: tuple[Head, Placed], side: str) -> None:
    made, placed = lying
    affine = placed.grid(side, SHAPE)
    middle = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    assert np.linalg.norm(middle - made.at(CENTRES[side])) < 2
    assert limits.unsure(made.volume, placed) == ""
    assert placed.likeness > 0.9
    assert placed.scale == pytest.approx(np.linalg.det(made.to_head[:3, :3]), rel=0.03)


def test_a_crop_has_voxels_of_a_mm_and_one_handedness(lying: tuple[Head, Placed]) -> None:
    _, placed = lying
    left, right = (placed.grid(side, SHAPE)[:3, :3] for side in ("left", "right"))
    for axes in (left, right):
        assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-6)
    # The left grows to the patient's right, the right to the left: one is the mirror image of the other.
    assert left[0, 0] < -0.9 < 0.9 < right[0, 0]
    assert left[:, 1:] == pytest.approx(right[:, 1:])


def test_the_same_head_is_placed_the_same_twice(lying: tuple[Head, Placed]) -> None:
    made, placed = lying
    again = place(made.volume)
    assert again is not None
    assert np.array_equal(again.to_head, placed.to_head)


def _upside_down(made: Volume) -> Volume:
    return volume_of(np.ascontiguousarray(made.array[::-1]), made.affine)


def _front_to_back(made: Volume) -> Volume:
    return volume_of(np.ascontiguousarray(made.array[:, ::-1]), made.affine)


def _inverted(made: Volume) -> Volume:
    return volume_of(np.int16(made.array.max()) - made.array, made.affine)


def _noise(made: Volume) -> Volume:
    random = np.random.default_rng(1)
    return volume_of(random.normal(500, 100, made.array.shape).astype(np.float32), made.affine)


@pytest.mark.parametrize("changed", [_upside_down, _front_to_back, _inverted, _noise])
def test_what_is_no_upright_t1_head_is_not_trusted(changed: object) -> None:
    volume = changed(head().volume)  # type: ignore[operator]
    placed = place(volume)
    assert placed is None or limits.unsure(volume, placed)


def test_a_head_that_ends_at_the_hippocampus_is_not_read() -> None:
    made = head()
    cut = [k for k in range(len(made.volume.array)) if made.volume.to_lps(np.array([k, 0, 0]))[2] > -22]
    affine = made.volume.affine.copy()
    affine[:3, 3] = made.volume.to_lps(np.array([cut[0], 0, 0]))
    volume = volume_of(made.volume.array[cut], affine)
    whole = Placed(np.eye(4), 0.9, 1.0, 0.0)
    assert sides.inside(volume, whole, "left") < 1
    assert "edge" in limits.unsure(volume, whole)


def test_a_crop_alone_and_thick_slices_are_not_read() -> None:
    crop = volume_of(np.zeros((46, 59, 43), np.int16), np.eye(4))
    assert "a crop is not read" in limits.unfit(crop)
    thick = volume_of(np.zeros((40, 256, 256), np.int16), np.diag([0.9, 0.9, 5.0, 1.0]))
    assert "5.0 mm" in limits.unfit(thick)
    assert limits.unfit(None)
