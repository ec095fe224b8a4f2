"""When lung-nodule says that an image is out of its domain: what learning it takes, what it tells, and what made it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.imaging.series import read_series
from readingroom.inference.domain import Domain, EnsembleDomain
from readingroom.readers.lung_nodule.candidates import Candidates
from readingroom.readers.lung_nodule.card import RECORD, WEIGHTS
from readingroom.readers.lung_nodule.detect import Looked
from readingroom.readers.lung_nodule.domain import (
    NAMES,
    LungDomain,
    Unlike,
    describe,
    learn_domain,
    read_lung_domain,
)
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.lungs import aerated_lungs, working_grid
from readingroom.readers.lung_nodule.reader import HERE, LungNoduleReader

FOLDS, WIDTH = 5, 6


def looked(features: np.ndarray) -> Looked:
    """What the networks saw at places with these features; the rest is not asked for."""
    n = len(features)
    found = Candidates(np.zeros((n, 3)), np.ones(n), np.zeros(n), np.zeros(n))
    blank = np.zeros(n)
    return Looked(found, blank, blank, blank, blank, blank, blank, features)


def made_up() -> LungDomain:
    """Thirty patients in five folds; each network's features of those it was not trained on lie two further away."""
    random = np.random.default_rng(2)
    fold = np.arange(30) % FOLDS
    together = [looked(random.normal(size=(20, FOLDS * WIDTH))) for _ in fold]
    unseen = [looked(random.normal(size=(20, WIDTH)) + 2) for _ in fold]
    rows = random.normal((-830, 15, 15, 0.0), (40, 5, 5, 0.02), (30, 4))
    return learn_domain([f"case {n}" for n in range(30)], fold.tolist(), rows, unseen, together)


def lung(noise: float) -> tuple[np.ndarray, np.ndarray]:
    hu = np.random.default_rng(1).normal(-830, noise, (40, 40, 40)).astype(np.int16)
    return hu, np.ones(hu.shape, bool)


def test_statistics_come_from_what_was_trained_on_and_the_threshold_from_what_was_not() -> None:
    domain = made_up()
    assert [n.width for n in domain.network.networks] == [WIDTH] * FOLDS
    assert all(n.patients == 24 for n in domain.network.networks), "each fold's network saw the patients of the others"
    assert all(np.abs(n.mean).max() < 0.4 for n in domain.network.networks)
    assert domain.network.abstain_above > 2, "the unseen were two away"
    assert domain.network.validation_patients == domain.image.validation_patients == 30
    assert read_lung_domain(json.dumps(domain.as_json()).encode()) == domain


def test_it_names_all_that_say_so_in_plain_words() -> None:
    domain = made_up()
    places = np.random.default_rng(5).normal(size=(20, FOLDS * WIDTH))
    hu, inside = lung(15)
    calm = domain.judge(hu, inside, looked(places))
    assert calm.reason == ""
    assert 0 < calm.score < 1
    assert set(calm.statistics) == {*NAMES, "out_of_domain_image", "out_of_domain_network"}
    noisy = domain.judge(*lung(400), looked(places))
    assert noisy.score == noisy.image > 1
    assert "noise or lung density" in noisy.reason
    assert "networks" not in noisy.reason
    strange = domain.judge(hu, inside, looked(places + 30))
    assert strange.score == strange.network > 1  # type: ignore[operator]
    assert "networks see" in strange.reason
    assert "noise" not in strange.reason
    both = domain.judge(*lung(400), looked(places + 30))
    assert "noise or lung density" in both.reason
    assert "networks see" in both.reason


def test_where_no_place_was_looked_at_the_image_alone_is_judged() -> None:
    judged = made_up().judge(*lung(15), None)
    assert judged.network is None
    assert judged.score == judged.image
    assert "out_of_domain_network" not in judged.statistics


def test_places_outside_the_aerated_lung_count_for_nothing() -> None:
    domain, (hu, inside) = made_up(), lung(15)
    calm, strange = np.zeros((4, FOLDS * WIDTH)), np.full((9, FOLDS * WIDTH), 30.0)
    seen = looked(np.concatenate([calm, strange]))
    seen.found.index[4:] = (5.5, 5, 5)
    inside[5] = False
    assert domain.judge(hu, inside, seen).network == domain.judge(hu, inside, looked(calm)).network
    assert domain.judge(hu, inside, looked(calm[:0])).network is None


def test_lung_without_air_gives_numbers() -> None:
    hu = np.full((20, 20, 20), 40, np.int16)
    for inside in (np.ones(hu.shape, bool), np.zeros(hu.shape, bool)):
        assert np.isfinite(describe(hu, inside)).all()


def test_what_is_no_domain_is_refused() -> None:
    one = Domain(mean=(0.0,), axes=(), variances=(), rest=1.0, examples=2, patients=2)
    half = EnsembleDomain(networks=(one,), abstain_above=1.0, validation_patients=10).model_dump()
    for kept in ({}, [], {"image": half}, {"image": half, "network": {}}):
        with pytest.raises(BadInput, match="Not a domain"):
            read_lung_domain(json.dumps(kept).encode())


def test_the_record_of_the_run_fits_the_weights_and_the_card() -> None:
    record = json.loads((HERE / "weights" / RECORD).read_text("utf-8"))
    reader = LungNoduleReader()
    assert {name: record["files"][name] for name in WEIGHTS} == dict(reader.card.weights)
    log = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))
    for name in ("seed", "recipe_sha256", "versions", "onnx_largest_difference"):
        told = log[name]["network"] if name == "onnx_largest_difference" else log[name]
        assert told == record[name], name
    assert (record["state"], record["reader_version"]) == ("done", reader.card.version)
    assert len(record["commit"]) == 40, "a commit, and nothing changed beside it"
    assert record["seconds"] > 0
    assert not [word for word in _words(record) if "/" in word], "no path of a machine"


def _words(value: object) -> list[str]:
    if isinstance(value, dict):
        return [word for pair in value.items() for one in pair for word in _words(one)]
    if isinstance(value, list):
        return [word for one in value for word in _words(one)]
    return [value] if isinstance(value, str) else []


Crop = tuple[np.ndarray, np.ndarray]


def part_of_a_lung(folder: Path) -> Crop:
    """The middle 9 cm of the larger lung at 1 mm, float32 HU, with its mask: some forty places to look at."""
    volume = read_series(sorted(p for p in folder.glob("*.dcm") if p.name != "rtstruct.dcm")).volume
    assert volume is not None
    both = aerated_lungs(resample(volume, 2.0).hu, 2.0, top_first=float(volume.affine[2, 2]) < 0)
    grid, inside = working_grid(volume, both.masks[0])
    middle = np.argwhere(inside).mean(axis=0).astype(int)
    box = tuple(slice(max(0, at - 45), at + 45) for at in middle)
    return grid.hu[box].astype(np.float32), inside[box]


def judged(reader: LungNoduleReader, hu: np.ndarray, inside: np.ndarray) -> Unlike:
    whole = np.clip(np.rint(hu), -2048, 3071).astype(np.int16)
    return reader.unlike(whole, inside, reader.look(whole, inside))


@pytest.fixture(scope="module")
def reader() -> LungNoduleReader:
    return LungNoduleReader()


@pytest.fixture(scope="module")
def crop(shared_data: Path) -> Crop:
    return part_of_a_lung(shared_data / "lung_ct_lidc_0314")


@pytest.mark.data
@pytest.mark.parametrize("scan", ["lung_ct_rtstruct_lung1_001", "lung_ct_cptac_c3n00247"])
def test_scans_from_elsewhere_are_read(reader: LungNoduleReader, shared_data: Path, scan: str) -> None:
    said = judged(reader, *part_of_a_lung(shared_data / scan))
    assert said.reason == "", said.scores


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

READ: dict[str, Change] = {
    "as it is": lambda hu, random: hu,
    "50 HU too high": lambda hu, random: hu + 50,
    "a little noise": lambda hu, random: hu + random.normal(0, 25, hu.shape),
    "a softer kernel": lambda hu, random: ndimage.gaussian_filter(hu, 1.0),
}
REFUSED: dict[str, Change] = {
    "without its intercept": lambda hu, random: hu + 1024,
    "500 HU too high": lambda hu, random: hu + 500,
    "inverted": lambda hu, random: -1024 - hu,
    "very noisy": lambda hu, random: hu + random.normal(0, 200, hu.shape),
    "noise alone": lambda hu, random: random.normal(-800, 200, hu.shape),
}
NOT_CAUGHT: dict[str, Change] = {
    "blurred": lambda hu, random: ndimage.gaussian_filter(hu, 2.0),
    "half the resolution": lambda hu, random: ndimage.zoom(ndimage.zoom(hu, 0.5, order=1), 2, order=1),
    "half the slope": lambda hu, random: (hu + 1024) / 2 - 1024,
    "slices in random order": lambda hu, random: hu[random.permutation(len(hu))],
}
"""Not by the score; in whole scans some of them leave no lungs to find. docs/rooms/readers.md says so."""


@pytest.mark.data
@pytest.mark.parametrize("how", [*READ, *REFUSED, *NOT_CAUGHT])
def test_what_it_catches_and_what_not(reader: LungNoduleReader, crop: Crop, how: str) -> None:
    hu, inside = crop
    said = judged(reader, (READ | REFUSED | NOT_CAUGHT)[how](hu, np.random.default_rng(3)), inside)
    assert bool(said.reason) == (how in REFUSED), said.scores
