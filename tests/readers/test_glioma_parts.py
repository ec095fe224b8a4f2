"""The parts of the glioma reader, without its weights: what the network sees, the grid, lesions, measures, laying one
series on another, and what is learnt from."""

from pathlib import Path

import numpy as np
import pytest
from mr_support import head
from PIL import Image

from readingroom.core.errors import BadInput
from readingroom.evaluation.segmentation import lesion_wise
from readingroom.findings.model import Axis
from readingroom.imaging.volume import Volume
from readingroom.readers import splits
from readingroom.readers.glioma import lesions, look, measure, prepare
from readingroom.readers.glioma.grid import Grid, axial_grid, box_of, onto, onto_source
from readingroom.readers.glioma.register import moved_onto
from readingroom.readers.glioma.slices import FOLDS, part_of, read_slices


def volume_of(array: np.ndarray, affine: np.ndarray) -> Volume:
    uids = tuple(f"1.2.{n}" for n in range(len(array)))
    return Volume(array, affine, "1.1", "1.3", "1.4", "MR", "arbitrary", uids, (1,) * len(array))


def affine_of(columns: tuple[float, ...], rows: tuple[float, ...], slices: tuple[float, ...]) -> np.ndarray:
    out = np.eye(4)
    out[:3, 0], out[:3, 1], out[:3, 2] = columns, rows, slices
    return out


# What the network sees


def test_units_do_not_matter() -> None:
    stack = head().astype(np.float32)
    plain, other = prepare.seen(stack, None), prepare.seen(stack * 7.3, None)
    assert np.abs(plain.flair.astype(np.float32) - other.flair.astype(np.float32)).max() < 0.02
    brain = plain.flair[12, 100:110, 70:80].astype(np.float32)
    assert abs(float(np.median(brain))) < 1
    assert float(plain.flair[12, 0, 0]) == prepare.LOW


def test_the_head_is_found_and_its_middle() -> None:
    stack = np.roll(head(), (9, -14), axis=(1, 2))
    mask = prepare.head_mask(stack)
    assert mask[12].sum() == pytest.approx(np.pi * 82 * 100, rel=0.05)
    assert np.allclose(prepare.middle_of(mask), (120 + 9, 100 - 14), atol=2)
    assert prepare.middle_of(np.zeros((2, 40, 60), bool)) == (20, 30)


@pytest.mark.parametrize("middle", [(128, 112), (90, 150), (3, 5)])
def test_a_window_is_put_back_where_it_was(middle: tuple[int, int]) -> None:
    stack = np.random.default_rng(0).random((2, 260, 231))
    cut = prepare.window(stack, middle, -1.0)
    assert cut.shape == (2, prepare.HEIGHT, prepare.WIDTH)
    back = prepare.put_back(cut, middle, (260, 231), -1.0)
    inside = back >= 0
    assert inside.any()
    assert np.array_equal(back[inside], stack[inside])


def test_channels_hold_flair_post_and_the_other_side() -> None:
    flair, post = np.full((1, 4, 6), 2.0), np.full((1, 4, 6), -2.0)
    flair[0, 1, 0] = 6
    image = prepare.channels(flair, post)
    assert image.dtype == np.float32
    assert image[0, 0, 1, 0] == image[0, 2, 1, 5] == 1.5
    assert (image[0, 1] == -0.5).all()
    assert (prepare.channels(flair, None)[0, 1] == 0).all()


def test_nothing_outside_the_head_is_tumour_and_one_fold_can_speak_alone() -> None:
    seen = prepare.seen(head().astype(np.float32), None)

    def network(image: np.ndarray) -> dict[str, np.ndarray]:
        tumour = np.stack([np.full(image.shape[:1] + image.shape[2:], v, np.float32) for v in (-6.0, 8.0)], axis=1)
        return {"tumour": tumour, "features": np.zeros((len(image), 3))}

    both, second = look.look(seen, network), look.look(seen, network, only=1)
    assert both.chance[seen.head].mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-3)
    assert second.chance[seen.head].min() > 0.99
    assert both.chance[~seen.head].max() == 0
    assert both.features.shape == (len(seen.head), 3)


# The grid


AXIAL = affine_of((0.8, 0, 0), (0, 0.8, 0), (0, 0, 5))
TURNED = {
    "feet first down": affine_of((0.8, 0, 0), (0, 0.8, 0), (0, 0, -5)),
    "mirrored columns": affine_of((-0.8, 0, 0), (0, 0.8, 0), (0, 0, 5)),
    "turned by 180 degrees": affine_of((-0.8, 0, 0), (0, -0.8, 0), (0, 0, 5)),
}


@pytest.mark.parametrize("how", sorted(TURNED))
def test_the_grid_is_the_same_however_the_slices_are_stored(how: str) -> None:
    random = np.random.default_rng(0)
    array = random.integers(0, 1000, (8, 50, 40)).astype(np.int16)
    plain = volume_of(array, AXIAL)
    affine = TURNED[how].copy()
    turns = [slice(None, None, -1 if affine[k, k] < 0 else 1) for k in (2, 1, 0)]
    for k, n in ((0, 40), (1, 50), (2, 8)):
        if affine[k, k] < 0:
            affine[k, 3] = AXIAL[k, k] * (n - 1)
    stored = volume_of(np.ascontiguousarray(array[tuple(turns)]), affine)
    grid = axial_grid(plain)
    # The grid begins at the corner nearest front, right and feet, whichever voxel is stored first.
    assert np.allclose(axial_grid(stored).to_lps_affine, grid.to_lps_affine)
    assert np.allclose(onto(stored, axial_grid(stored)), onto(plain, grid))
    assert grid.spacing_mm == pytest.approx((5, 1, 1))


def test_a_sagittal_volume_is_read_in_axial_slices() -> None:
    # Slices to the left, rows to the feet, columns to the back: 1 mm each way.
    affine = affine_of((0, 1, 0), (0, 0, -1), (1, 0, 0))
    z, x, y = 30, 21, 12
    array = np.zeros((40, 60, 50), np.int16)
    array[x, z, y] = 500
    volume = volume_of(array, affine)
    grid = axial_grid(volume)
    assert grid.shape == (30, 50, 40)
    assert grid.spacing_mm == pytest.approx((2, 1, 1)), "thin slices are skipped"
    point = volume.to_lps(np.array([x, z, y]))
    index = grid.to_index(point)
    # The point lies on or between two slices that were taken.
    assert np.allclose(index[1:], (y, x))
    assert np.allclose(grid.to_lps(index), point)


def test_probabilities_come_back_to_the_source() -> None:
    volume = volume_of(np.zeros((10, 100, 90), np.int16), AXIAL)
    grid = axial_grid(volume)
    chance = np.zeros(grid.shape, np.float32)
    chance[3:6, 20:40, 25:45] = 1
    box = box_of(chance > 0.5, grid, volume)
    mask = onto_source(chance, grid, volume, box) > 0.5
    assert mask.sum() * np.prod(volume.spacing_mm) == pytest.approx(3 * 20 * 20 * 5, rel=0.1)
    where = np.argwhere(mask) + [side.start for side in box]
    assert np.allclose(volume.to_lps(where).mean(axis=0), grid.to_lps(np.array([4, 29.5, 34.5])), atol=0.5)


# Lesions


def test_parts_are_told_apart_and_ordered() -> None:
    chance = np.zeros((6, 60, 60), np.float32)
    chance[1:4, 10:30, 10:30] = 0.9
    chance[2, 40:46, 40:46] = 0.7
    chance[5, 50:53, 50:53] = 0.99
    found = lesions.lesions_of(chance)
    assert [int(one.mask.sum()) for one in found] == [1200, 36], "nine pixels are too few"
    assert found[0].score == pytest.approx(np.log(0.9 * 400), abs=1e-3)
    assert lesions.lesions_of(np.zeros((2, 5, 5))) == []


def test_a_part_is_true_by_the_rule_of_the_evaluation() -> None:
    from readingroom.readers.glioma.train import is_true

    truth = np.zeros((3, 40, 40), bool)
    truth[:, 5:25, 5:25] = True
    for shift in (0, 8, 14, 17, 22):
        drawn = np.roll(truth, shift, axis=2)
        matched, _ = lesion_wise(truth, drawn, (1.0, 1.0, 1.0))
        assert is_true(drawn, truth) == (not matched.false), shift
    assert not is_true(truth, np.zeros_like(truth))


# Measures


def length(axis: Axis) -> float:
    return float(np.linalg.norm(np.subtract(axis.end_lps_mm, axis.start_lps_mm)))


def test_the_product_is_of_the_largest_slice() -> None:
    y, x = np.mgrid[:100, :100]
    mask = np.zeros((5, 100, 100), bool)
    mask[2] = ((x - 50) / 30) ** 2 + ((y - 50) / 15) ** 2 <= 1
    mask[3, 48:50, 5:95] = True  # longer, but of less area
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 1], [0, 1, 0], [6, 0, 0]]
    grid = Grid((5, 100, 100), affine)
    axes = measure.axes_of(mask, grid)
    assert length(axes[0]) == pytest.approx(61, abs=1)
    assert length(axes[1]) == pytest.approx(31, abs=1)
    assert all(abs(end[2] - 12) < 1e-6 for axis in axes for end in (axis.start_lps_mm, axis.end_lps_mm))
    across = np.dot(
        np.subtract(axes[0].end_lps_mm, axes[0].start_lps_mm), np.subtract(axes[1].end_lps_mm, axes[1].start_lps_mm)
    )
    assert abs(float(across)) < 1e-3 * length(axes[0]) * length(axes[1])
    said = {m.code.value: m for m in measure.measurements_of(mask, grid, axes, 12.345)}
    assert said["diameter-product"].value == pytest.approx(length(axes[0]) * length(axes[1]), abs=1)
    assert said["diameter-product"].unit.value == "mm2"
    assert (said["extent-lr"].value, said["extent-ap"].value, said["extent-si"].value) == (90, 31, 12)
    assert said["118565006"].value == pytest.approx(12.34, abs=0.011)
    assert said["118565006"].unit.value == "mL"


# One series onto another


def test_a_moved_head_is_laid_on_the_other() -> None:
    angle = np.deg2rad(6)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    small = head((40, 240, 200), 3.0)[:, ::2, ::2]
    affine = affine_of((2.0, 0, 0), (0, 2.0, 0), (0, 0, 3.0))
    middle = affine[:3, :3] @ np.array([50, 60, 20])
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = turn, middle - turn @ middle + (7, -5, 4)
    flair = volume_of(small, affine)
    # The same head, other contrast, lying elsewhere: its voxels are where the turn brings them.
    post = volume_of((1000 - small).clip(0).astype(np.int16) * (small > 30), moved @ affine)
    found = moved_onto(flair, post)
    assert found is not None
    points = flair.to_lps(np.array([[10, 30, 30], [20, 60, 50], [30, 80, 70]]))
    away = points @ found[:3, :3].T + found[:3, 3] - (points @ moved[:3, :3].T + moved[:3, 3])
    assert np.linalg.norm(away, axis=1).max() < 3


def test_what_is_no_head_is_not_laid_on_one() -> None:
    affine = affine_of((2.0, 0, 0), (0, 2.0, 0), (0, 0, 3.0))
    noise = np.random.default_rng(0).integers(0, 1000, (40, 120, 100)).astype(np.int16)
    assert moved_onto(volume_of(head((40, 240, 200), 3.0)[:, ::2, ::2], affine), volume_of(noise, affine)) is None


# What is learnt from


def write_slices(folder: Path, patients: int = 10) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    stack = (head((24, 240, 200))[8:16:4] / 4).clip(0, 255).astype(np.uint8)
    for patient in range(patients):
        for n, plane in enumerate(stack):
            bright = plane.copy()
            mask = np.zeros(plane.shape, np.uint8)
            if n == 0:
                bright[80:110, 60 + patient : 90 + patient] = 190
                mask[80:110, 60 + patient : 90 + patient] = 255
            post = np.minimum(plane + 10 * (patient % 2), 255).astype(np.uint8) if patient else bright
            Image.fromarray(np.stack([plane, bright, post], axis=-1)).save(folder / f"images/P_{patient}_{2 * n}.png")
            Image.fromarray(mask).save(folder / f"masks/P_{patient}_{2 * n}.png")


def test_slices_are_read_by_patient_and_what_is_broken_is_named(tmp_path: Path) -> None:
    write_slices(tmp_path, 2)
    (tmp_path / "images" / "P_0_9.png").write_bytes(b"no picture")
    patients, problems = read_slices(tmp_path)
    assert [p.patient for p in patients] == ["P_0", "P_1"]
    assert [p.has_post for p in patients] == [False, True], "a copy of the FLAIR is no series of its own"
    assert patients[0].mask.any(axis=(1, 2)).tolist() == [True, False]
    assert problems == ["P_0_9.png: cannot be read"]
    with pytest.raises(BadInput, match="images"):
        read_slices(tmp_path / "images")


def test_folds_hold_every_patient_and_none_is_locked() -> None:
    parts = [part_of(f"patient {n}") for n in range(300)]
    assert set(parts) == set(range(FOLDS))
    for n in range(300):
        locked = splits.part_of("glioma 1", f"patient {n}", FOLDS)
        assert locked in (splits.TEST, parts[n])


def test_augmentation_moves_mask_and_image_alike(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from readingroom.readers.glioma import learn
    from readingroom.readers.glioma.train import examples_for

    write_slices(tmp_path)
    data = examples_for(tmp_path, 0, 1, lambda step, done: None)
    assert (len(data), len(set(data.group))) == (20, 10)
    lesion = data.arrays["mask"].any(axis=(1, 2))
    batch = {name: a[lesion] for name, a in data.arrays.items()}
    plain = learn.augment(batch, None)
    assert plain["image"].shape == (10, 3, prepare.HEIGHT, prepare.WIDTH)
    assert np.array_equal(plain["image"][:, 2], plain["image"][:, 0, :, ::-1])
    for seed in range(3):
        made = learn.augment(batch, np.random.default_rng(seed))
        assert made["image"].shape == (10, 3, *learn.SIZE)
        for image, mask in zip(made["image"][:, 0], made["mask"] > 0, strict=True):
            if mask.sum() > 100:
                assert np.median(image[mask]) > np.median(image[(image > -0.9) & ~mask])
    again = learn.augment(batch, np.random.default_rng(2))
    assert np.array_equal(again["image"], made["image"]), "the same chance, the same batch"
    withheld = [learn.augment(batch, np.random.default_rng(seed))["image"][:, 1] for seed in range(4)]
    empty = np.concatenate([(one == 0).all(axis=(1, 2)) for one in withheld])
    assert 0.1 < empty.mean() < 0.8


def test_the_network_keeps_the_size_and_the_loss_falls_with_overlap() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")
    from readingroom.readers.glioma import learn
    from readingroom.readers.glioma.network import GliomaNet, Together

    network = GliomaNet().eval()
    image = torch.zeros(1, 3, 80, 70)
    tumour, features = network(image)
    assert (tuple(tumour.shape), tuple(features.shape)) == ((1, 80, 70), (1, 112))
    tumour, features = Together([network, network])(image)
    assert (tuple(tumour.shape), tuple(features.shape)) == ((1, 2, 80, 70), (1, 224))
    mask = torch.zeros(1, 8, 8)
    mask[0, :4] = 1
    good = sum(learn.loss({"tumour": 8 * (mask - 0.5)}, {"mask": mask}).values())
    bad = sum(learn.loss({"tumour": -8 * (mask - 0.5)}, {"mask": mask}).values())
    assert float(good) < float(bad)
