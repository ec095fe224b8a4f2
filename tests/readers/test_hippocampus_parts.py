"""The parts of the hippocampus reader around its network: crops, augmentation, shift, measures; and the real set."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from readingroom.core.errors import BadInput
from readingroom.readers.hippocampus.crops import (
    FOLDS,
    SHAPE,
    Crop,
    padded,
    padded_labels,
    part_of,
    read_crops,
    unpadded,
)
from readingroom.readers.hippocampus.learn import PATCH, augment
from readingroom.readers.hippocampus.measures import measured
from readingroom.readers.hippocampus.outline import Shift, outline
from readingroom.readers.hippocampus.train import examples_for, unbiased
from readingroom.readers.splits import TEST


def ignore(step: str, fraction: float) -> None: ...


def write_nifti(path: Path, array: np.ndarray) -> None:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *array.shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 16, 32)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)
    header[344:348] = b"n+1\0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(bytes(header) + array.astype("<f4").tobytes(order="F")))


def made_up(seed: int, shape: tuple[int, int, int] = (35, 50, 37)) -> tuple[np.ndarray, np.ndarray]:
    """A bright body, its front half anterior, in noise."""
    random = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    inside = ((index / np.array([9, 18, 10]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) <= 1
    labels = np.where(inside, np.where(index[1] > 0, 1, 2), 0).astype(np.uint8)
    return (100 * inside + random.normal(200, 20, shape)).astype(np.float32), labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(24):
        image, labels = made_up(n)
        write_nifti(tmp_path / "images" / f"case_{n:03}.nii.gz", image)
        write_nifti(tmp_path / "labels" / f"case_{n:03}.nii.gz", labels)
    return tmp_path


def test_what_cannot_be_read_is_named_and_the_rest_is_read(folder: Path) -> None:
    write_nifti(folder / "images" / "case_100.nii.gz", np.ones((60, 50, 37)))
    write_nifti(folder / "labels" / "case_100.nii.gz", np.zeros((60, 50, 37)))
    write_nifti(folder / "images" / "case_101.nii.gz", made_up(1)[0])
    crops, problems = read_crops(folder)
    assert len(crops) == 24
    assert [p.split()[0] for p in problems] == ["case_100", "case_101"]
    with pytest.raises(BadInput, match="no crops"):
        read_crops(folder / "images")


def test_only_what_is_not_locked_is_trained_on(folder: Path) -> None:
    data = examples_for(folder, 1, 1, ignore)
    data.check(FOLDS)
    names = [crop.name for crop in data.kept.crops]
    assert [part_of(name) for name in names] == data.fold.tolist()
    assert data.kept.locked == sum(part_of(f"case_{n:03}") == TEST for n in range(24)) > 0
    assert len(names) + data.kept.locked == 24


def test_padding_is_undone_and_intensities_do_not_matter() -> None:
    image, labels = made_up(3)
    assert padded(image).shape == padded_labels(labels).shape == SHAPE
    assert np.array_equal(unpadded(padded_labels(labels), labels.shape), labels)
    assert padded(40000 * image + 7) == pytest.approx(padded(image), abs=1e-3)


def test_augmentation_follows_its_seed_and_keeps_parts_and_handedness() -> None:
    image, labels = made_up(3)
    labels[:] = 0
    labels[10:16, 21:29, 14:22], labels[18:24, 21:29, 14:22] = 1, 2  # side by side, the second to the right
    batch = {"image": padded(image)[None, None], "labels": padded_labels(labels)[None, None]}
    batch = {name: np.repeat(a, 4, axis=0) for name, a in batch.items()}
    first, again, other = (augment(batch, np.random.default_rng(n)) for n in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in batch)
    assert not np.array_equal(first["image"], other["image"])
    assert first["image"].shape == first["labels"].shape == (4, 1, *PATCH)
    assert (first["image"].dtype, first["labels"].dtype) == (np.float32, np.uint8)
    for one in (*first["labels"][:, 0], *other["labels"][:, 0]):
        first_part, second_part = (np.argwhere(one == n).mean(axis=0) for n in (1, 2))
        assert second_part[0] > first_part[0] + 4
    assert augment(batch, None) is batch


def test_the_shift_takes_the_bias_out() -> None:
    random = np.random.default_rng(5)
    logits, drawn = [], []
    for seed in range(6):
        labels = made_up(seed)[1]
        smooth = np.stack([np.where(labels == n, 1.0, -1.0) for n in range(3)]) + random.normal(
            0, 0.8, (3, *labels.shape)
        )
        smooth[1] += 0.7
        logits.append(smooth.astype(np.float32))
        drawn.append(labels)

    def bias(shift: Shift) -> list[float]:
        said = [outline(one, shift).labels for one in logits]
        return [
            float(np.mean([(s == n).sum() / (d == n).sum() - 1 for s, d in zip(said, drawn, strict=True)]))
            for n in (1, 2)
        ]

    before, after = bias(Shift()), bias(unbiased(logits, drawn))
    assert max(map(abs, before)) > 0.05
    assert max(map(abs, after)) < 0.03


def test_an_outline_is_one_piece_without_holes() -> None:
    labels = made_up(1)[1]
    logits = np.stack([np.where(labels == n, 4.0, 0.0) for n in range(3)]).astype(np.float32)
    logits[:, 17, 30, 18] = (9, 1, 0)
    logits[:, 1:3, 1:3, 1:3] = np.array([0, 5, 0]).reshape(3, 1, 1, 1)
    found = outline(logits, Shift())
    assert np.array_equal(found.labels, labels)
    assert 0.5 < found.confidence("anterior") < 1


def test_an_empty_outline_is_the_worst_case_and_not_left_out() -> None:
    image, labels = made_up(1)
    crop = Crop("a", image, labels)
    perfect, nothing = measured(crop, labels), measured(crop, np.zeros_like(labels))
    assert (perfect["dice_mean"], perfect["hd95_mm"], perfect["volume_bias_percent"]) == (1, 0, 0)
    assert (nothing["dice_mean"], nothing["volume_bias_percent"]) == (0, -100)
    assert nothing["hd95_mm"] > 50


@pytest.mark.data
def test_the_set_is_as_its_source_says(shared_data: Path) -> None:
    crops, problems = read_crops(shared_data / "hippocampus")
    assert (len(crops), problems) == (202, [])
    assert {len(np.unique(crop.labels)) for crop in crops} == {3}
    assert sum(part_of(crop.name) == TEST for crop in crops) == 61
    # Anterior lies in front: axes grow to R, A and S.
    ahead = [np.argwhere(c.labels == 1).mean(axis=0)[1] - np.argwhere(c.labels == 2).mean(axis=0)[1] for c in crops]
    assert min(ahead) > 10
