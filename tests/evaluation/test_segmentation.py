"""Segmentation measures against brute force from their definitions."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from readingroom.evaluation.segmentation import dice, lesion_wise, surface_distances, volume_bias_percent


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float, spacing: tuple[float, ...]) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return np.linalg.norm((grid - centre) * spacing, axis=-1) <= radius


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels with a face neighbour outside, one by one."""
    found = []
    for voxel in np.argwhere(mask):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                beside = voxel.copy()
                beside[axis] += step
                if not (0 <= beside[axis] < mask.shape[axis]) or not mask[tuple(beside)]:
                    found.append(tuple(voxel))
    return np.array(sorted(set(found)))


@pytest.mark.parametrize("seed", range(4))
def test_surface_distances_are_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    spacing = (2.5, 0.8, 0.7)
    shape = (10, 24, 25)
    reference = ball(shape, (4.5, 12, 12), 7, spacing) | (random.random(shape) < 0.002)
    predicted = ball(shape, (5, 13, 10), 6, spacing)
    found = surface_distances(reference, predicted, spacing, 1.0)
    apart = cdist(surface(reference) * spacing, surface(predicted) * spacing)
    there, back = apart.min(axis=1), apart.min(axis=0)
    assert found.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert found.hausdorff_mm == pytest.approx(max(there.max(), back.max()))
    both = np.concatenate([there, back])
    assert found.assd_mm == pytest.approx(both.mean())
    assert found.surface_dice == pytest.approx((both <= 1.0).mean())


def test_two_slabs_a_known_distance_apart() -> None:
    first, second = np.zeros((30, 8, 8), bool), np.zeros((30, 8, 8), bool)
    first[5, 2:6, 2:6], second[9, 2:6, 2:6] = True, True
    found = surface_distances(first, second, (1.5, 1, 1), 5.9)
    assert (found.hd95_mm, found.hausdorff_mm, found.assd_mm, found.surface_dice) == (6, 6, 6, 0)
    assert surface_distances(first, second, (1.5, 1, 1), 6.0).surface_dice == 1


def test_empty_masks() -> None:
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert dice(empty, empty) == 1
    assert dice(full, empty) == 0
    assert surface_distances(empty, empty, (1, 1), 1).surface_dice == 1
    one = surface_distances(full, empty, (1, 1), 1)
    assert (one.hd95_mm, one.surface_dice) == (None, 0)
    with pytest.raises(ValueError, match="empty"):
        volume_bias_percent(empty, full)
    with pytest.raises(ValueError, match="shapes"):
        dice(empty, np.zeros((4, 5), bool))


def test_dice_and_bias_by_hand() -> None:
    reference, predicted = np.zeros(10, bool), np.zeros(10, bool)
    reference[:4], predicted[1:7] = True, True
    assert dice(reference, predicted) == pytest.approx(2 * 3 / 10)
    assert volume_bias_percent(reference, predicted) == pytest.approx(50)


def test_lesions_one_by_one() -> None:
    reference, predicted = np.zeros((1, 12, 30), bool), np.zeros((1, 12, 30), bool)
    reference[0, 2:6, 2:6] = True  # found, shifted by one column
    predicted[0, 2:6, 3:7] = True
    reference[0, 2:6, 12:16] = True  # missed
    predicted[0, 9:11, 20:22] = True  # false
    matched, found_dice = lesion_wise(reference, predicted, (1, 1, 1))
    assert [bool(np.isfinite(score)) for score in matched.found] == [True, False]
    assert matched.false == (4.0,)
    assert found_dice == pytest.approx((2 * 12 / 32,))
    # A sliver of overlap is no hit.
    assert not np.isfinite(lesion_wise(reference, np.roll(reference, 3, axis=2), (1, 1, 1), 0.5)[0].found).any()
