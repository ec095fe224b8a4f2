"""Lung without air at the wall, on the simulated chest: found, measured, said; never where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from readingroom.findings.codes import code
from readingroom.findings.model import ReaderState
from readingroom.imaging.phantom import DEFAULT_NODULES, chest
from readingroom.imaging.simulate import write_chest_ct
from readingroom.imaging.volume import Volume
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingRequest
from readingroom.readers.lung_nodule.dense import recover, whole_lungs
from readingroom.readers.lung_nodule.lungs import aerated_lungs
from readingroom.readers.lung_nodule.reader import LungNoduleReader
from readingroom.readers.runner import run_reader

STEP = 3.0
ML = STEP**3 / 1000


@pytest.fixture(scope="module")
def healthy() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A chest of 3 mm voxels (slices from the feet, rows from the front, columns from the right) and its lungs."""
    hu, _ = chest(127, 100, DEFAULT_NODULES, 0, 18.0)
    masks = sorted(aerated_lungs(hu, STEP, top_first=False).masks, key=lambda m: np.argwhere(m)[:, 2].mean())
    return hu, dict(zip(("right", "left"), masks, strict=True))


def fluid(side: np.ndarray, ml: float) -> np.ndarray:
    """The part of a lung that ``ml`` of fluid fill: behind and below."""
    z, y = np.arange(side.shape[0])[:, None, None], np.arange(side.shape[1])[None, :, None]
    score = np.broadcast_to(y - 0.35 * z, side.shape)
    count = int(ml / ML)
    return np.asarray(side & (score >= np.sort(score[side])[-count]))


def filled(hu: np.ndarray, where: np.ndarray, level: float = 10.0) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 15, hu.shape)
    return np.where(where, level + noise, hu).astype(np.int16)


def found(hu: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray, dict[str, float]]:
    return recover(hu, aerated_lungs(hu, STEP, top_first=False).masks, STEP)


def volume(hu: np.ndarray, flips: tuple[int, int, int] = (1, 1, 1)) -> Volume:
    affine = np.diag([STEP * flips[2], STEP * flips[1], STEP * flips[0], 1.0])
    uids = tuple(f"1.2.{n}" for n in range(len(hu)))
    array = np.ascontiguousarray(hu[:: flips[0], :: flips[1], :: flips[2]])
    return Volume(array, affine, "1.2", "1.3", "1.4", "CT", "HU", uids, (1,) * len(hu))


def test_healthy_lungs_stay_as_they_are(healthy: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    hu, _ = healthy
    aerated = aerated_lungs(hu, STEP, top_first=False).masks
    masks, dense, ml = found(hu)
    assert all((a == b).all() for a, b in zip(masks, aerated, strict=True))
    assert not dense.any()
    assert not ml


@pytest.mark.parametrize(("side", "ml"), [("right", 500.0), ("left", 1000.0)])
def test_an_effusion_is_found_and_nothing_else(
    healthy: tuple[np.ndarray, dict[str, np.ndarray]], side: str, ml: float
) -> None:
    hu, lungs = healthy
    where = fluid(lungs[side], ml)
    masks, dense, said = found(filled(hu, where))
    assert (dense & where).sum() > 0.65 * where.sum()
    healthy_lungs = lungs["right"] | lungs["left"]
    assert (dense & ~ndimage.binary_dilation(healthy_lungs, iterations=2)).sum() * ML < 5, "heart, liver, wall"
    assert (dense & ~healthy_lungs).sum() < 0.08 * where.sum()
    assert list(said) == [side]
    assert 0.65 * ml < said[side] < 1.05 * ml
    assert not any((m & dense).any() for m in masks)


def test_tissue_as_dense_as_the_heart_is_kept_away_from_it(
    healthy: tuple[np.ndarray, dict[str, np.ndarray]],
) -> None:
    hu, lungs = healthy
    where = fluid(lungs["left"], 500)
    _, dense, said = found(filled(hu, where, 42.0))
    assert list(said) == ["left"]
    assert (dense & where).sum() > 0.4 * where.sum()
    assert (dense & ~(lungs["right"] | lungs["left"])).sum() * ML < 15


@pytest.mark.parametrize("flips", [(-1, 1, 1), (1, -1, -1)], ids=["from the head", "turned"])
def test_the_side_is_the_patients(
    healthy: tuple[np.ndarray, dict[str, np.ndarray]], flips: tuple[int, int, int]
) -> None:
    hu, lungs = healthy
    whole = whole_lungs(volume(filled(hu, fluid(lungs["right"], 500)), flips), STEP)
    assert list(whole.dense_ml) == ["right"]
    at = np.argwhere(whole.dense)[:, 2].mean() * flips[2]
    assert at < (hu.shape[2] / 2) * flips[2], "in the array as it was given"
    assert whole.said[0].startswith(f"About {whole.dense_ml['right']:.0f} ml")


def test_a_side_without_air_is_said_and_not_searched(healthy: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    hu, lungs = healthy
    whole = whole_lungs(volume(filled(hu, lungs["left"])), STEP)
    assert not whole.aerated.problem
    assert len(whole.aerated.masks) == 1
    assert not whole.dense.any(), "the heart can't be told from it"
    assert list(whole.dense_ml) == ["left"]
    assert "left" in whole.said[0]


def test_rows_that_run_otherwise_are_left_alone(healthy: tuple[np.ndarray, dict[str, np.ndarray]]) -> None:
    hu, lungs = healthy
    one = volume(filled(hu, fluid(lungs["right"], 500)))
    turned = np.diag([0.0, 0.0, STEP, 1.0])
    turned[0, 1] = turned[1, 0] = STEP
    whole = whole_lungs(replace(one, affine=turned), STEP)
    assert not whole.dense.any()
    assert not whole.dense_ml


def test_the_reading_says_how_much_holds_no_air(tmp_path: Path) -> None:
    study = write_chest_ct(tmp_path, slices=100, rows=128)
    intake = load_study({study.series_instance_uid: study.files})
    series = intake.series[0]
    assert series.volume is not None
    hu = series.volume.array
    masks = aerated_lungs(hu, STEP, top_first=False).masks
    right = min(masks, key=lambda m: np.argwhere(m)[:, 2].mean())
    wet = replace(series.volume, array=filled(hu, fluid(right, 500)))
    request = ReadingRequest(study.study_instance_uid, (replace(series, volume=wet),), intake.context)
    reading, _ = run_reader(LungNoduleReader(), request, lambda step, fraction: None)
    assert reading.state in (ReaderState.FOUND, ReaderState.NOTHING_FOUND), reading.reason
    ml = reading.input_statistics["dense_ml_right"]
    assert 300 < float(ml) < 550
    assert reading.input_statistics["dense_ml_left"] == 0
    (measure,) = reading.study_measurements
    assert (measure.code, measure.value, measure.unit) == (code("airless-right"), ml, code("cm3"))
    assert all(any("hold no air" in note for note in f.evidence.notes) for f in reading.findings)
