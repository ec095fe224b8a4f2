"""The second look of the lung-nodule reader on arrays whose truth is known: patches, network, segment, what is said."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from readingroom.core.errors import BadInput
from readingroom.findings.rules import characteristics_of
from readingroom.imaging.volume import Volume
from readingroom.inference.calibration import Calibration, sigmoid
from readingroom.readers.lung_nodule import (
    characterise,
    detect,
    examples,
    explain,
    features,
    learn,
    malignancy,
    patches,
    similar,
)  # fmt: skip
from readingroom.readers.lung_nodule.cubes import Cube
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.implant import KINDS, Kind, implant
from readingroom.readers.lung_nodule.measure import SourceMask
from readingroom.readers.lung_nodule.network import NoduleNet, Together
from readingroom.readers.lung_nodule.ratings import LidcNodule
from readingroom.readers.lung_nodule.segment import segment


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> np.ndarray:
    """A ball with soft edges, 0..1, a voxel wide."""
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
    return np.clip(radius + 0.5 - distance, 0, 1)


@pytest.mark.parametrize("step", [1.0, 1.5])
def test_a_patch_goes_back_to_where_it_was_cut(step: float) -> None:
    shape, at = (60, 64, 58), np.array([31.3, 29.0, 27.8])
    whole = ball(shape, (30, 30, 28), 7.0)
    patch = patches.cut(whole, at, step, 0.0)
    assert patch.shape == (32, 32, 32)
    back, first = patches.put_back(patch, at, step)
    box = tuple(slice(int(f), int(f) + n) for f, n in zip(first, back.shape, strict=True))
    assert np.abs(back - whole[box]).mean() < 0.01
    assert (back >= 0.5).sum() == pytest.approx((whole >= 0.5).sum(), rel=0.06)


def test_beyond_the_data_the_patch_is_lung() -> None:
    patch = patches.cut(np.full((20, 20, 20), 40, np.int16), np.array([0.0, 10.0, 19.0]), 1.0, -850.0)
    assert set(np.unique(patch).tolist()) == {40.0, -850.0}
    assert (patch[:15] == -850).all(), "15 voxels lie before the first slice"
    assert (patch[16:26, 6:25, :15] == 40).all()
    assert (patches.cut(np.zeros((5, 5, 5)), np.array([90.0, 2, 2]), 1.0, -850.0) == -850).all()
    assert patches.normalised(np.array([-3000, -400, 3000])).tolist() == [-1, 0, 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("diameter", [3.0, 8.0, 20.0])
def test_a_simulated_nodule_is_of_the_size_and_kind_asked_for(kind: Kind, diameter: float) -> None:
    random = np.random.default_rng(3)
    lung = random.normal(-860, 15, (61, 61, 61)).astype(np.int16)
    done = implant(lung, np.array([30.2, 30.0, 29.7]), diameter, kind, random)
    # The profile of ground glass is soft: its half lies well inside its surface.
    assert done.diameter_mm == pytest.approx(diameter, rel=0.45 if kind == "ground-glass" or diameter < 4 else 0.25)
    assert np.linalg.norm(np.argwhere(done.mask).mean(0) - (30.2, 30.0, 29.7)) < 0.1 * diameter + 1
    away = ball(lung.shape, (30.2, 30.0, 29.7), diameter) == 0
    assert (done.hu[away] == lung[away]).mean() > 0.995, "only the nodule's place has changed"
    if diameter == 20:
        core = float(np.median(done.hu[ball(lung.shape, (30.2, 30, 29.7), 4) > 0.5]))
        low, high = {"solid": (-60, 100), "ground-glass": (-760, -480), "calcified": (200, 720)}.get(kind, (-760, 100))
        assert low < core < high
        assert (done.solid_mm > 0) == (kind != "ground-glass")


def test_a_vessel_in_ground_glass_stays() -> None:
    lung = np.full((41, 41, 41), -860, np.int16)
    lung[:, 20, 20] = 30
    done = implant(lung, np.array([20.0, 20, 20]), 12.0, "ground-glass", np.random.default_rng(1))
    assert (done.hu[:, 20, 20] == 30).all()
    assert done.hu[20, 22, 22] > -800


def test_the_network_says_what_detect_reads() -> None:
    torch.manual_seed(1)
    networks = [NoduleNet(width=2).eval() for _ in range(2)]
    image = torch.randn(3, 1, 32, 32, 32)
    with torch.no_grad():
        one = dict(zip(detect.OUTPUTS, networks[0](image), strict=True))
        other = dict(zip(detect.OUTPUTS, networks[1](image), strict=True))
        both = dict(zip(detect.OUTPUTS, Together(networks)(image), strict=True))
    shapes = {name: tuple(value.shape) for name, value in one.items()}
    assert shapes == {
        "nodule": (3,), "mask": (3, 32, 32, 32), "ratings": (3, 4), "features": (3, 24), "where": (3, 32, 32, 32),
    }  # fmt: skip
    assert both["features"].shape == (3, 48)
    for name in ("nodule", "mask", "ratings", "where"):
        assert torch.allclose(both[name], (one[name] + other[name]) / 2, atol=1e-5)
    assert 0 <= one["ratings"].min() <= one["ratings"].max() <= 1
    assert one["where"].min() >= 0


def batch(random: np.random.Generator) -> dict[str, np.ndarray]:
    size = examples.WHOLE
    mask = np.stack([255 * (ball((size,) * 3, (17, 18, 18), 5) >= 0.5), np.zeros((size,) * 3)]).astype(np.uint8)
    hu = np.where(mask > 0, 20, -860).astype(np.int16)
    given = np.array([[1.0, -1, 0.5, 0.0], [-1, -1, -1, -1]], np.float32)
    return {"image": hu, "mask": mask, "nodule": np.array([1, 0], np.float32), "ratings": given}


def test_augmentation_keeps_the_mask_on_the_nodule() -> None:
    random = np.random.default_rng(0)
    plain = learn.augment(batch(random), None)
    assert plain["image"].shape == (2, 1, 32, 32, 32)
    assert ((plain["image"][0, 0] > 0) == (plain["mask"][0] > 0.5)).all()
    seen = []
    for _ in range(20):
        arrays = learn.augment(batch(random), random)
        bright, drawn = arrays["image"][0, 0] > 0, arrays["mask"][0] > 0.5
        # Noise and an image that ends in the patch may take a little away, but nothing moves off.
        assert (bright & drawn).sum() >= 0.7 * drawn.sum()
        assert (bright & ~drawn).sum() <= 0.05 * drawn.sum() + 3
        seen.append(arrays["image"].tobytes())
    assert len(set(seen)) == 20


def test_the_loss_asks_only_for_what_was_said() -> None:
    arrays = learn.augment(batch(np.random.default_rng(0)), None)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    right = {
        "nodule": torch.tensor([4.0, -4.0]), "mask": (tensors["mask"] - 0.5) * 40,
        "ratings": torch.tensor([[1.0, 0.3, 0.5, 0.0], [0.9, 0.9, 0.9, 0.9]]),
    }  # fmt: skip
    good = learn.loss(right, tensors)
    assert good["dice"] < 0.01
    assert good["ratings"] == 0, "who rated nothing is not asked"
    missed = learn.loss(right | {"mask": -right["mask"]}, tensors)
    assert missed["dice"] > 0.9
    assert learn.loss(right | {"nodule": -right["nodule"]}, tensors)["nodule"] > 10 * good["nodule"]


def test_examples_of_a_cube_are_balanced_and_named() -> None:
    class Look:
        def score(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, 0]

    random = np.random.default_rng(2)
    hu = random.normal(-860, 20, (51, 51, 51))
    mask = ball(hu.shape, (25, 25, 25), 5) >= 0.5
    hu = np.where(mask, 20, hu)
    for row, column in ((10, 12), (38, 14), (12, 40)):
        hu[:, row - 1 : row + 2, column - 1 : column + 2] = 0
    cube = Cube("case", hu.astype(np.int16), mask)
    said = {"texture": 5.0, "malignancy": 4.0, "spiculation": 1.0, "lobulation": 2.0}
    made = examples.of_cube(cube, said, Look(), None, 7)  # type: ignore[arg-type]
    count = Counter(p.category for p in made)
    assert set(count) == {"nodule", "simulated", "negative"}
    assert all(p.nodule == (p.category != "negative") for p in made)
    middle = examples.WHOLE // 2
    near = slice(middle - 6, middle + 6)
    assert all(p.mask[near, near, near].max() > 100 for p in made if p.category == "nodule")
    assert all(not p.mask.any() for p in made if p.category == "negative")
    assert {p.ratings for p in made if p.category == "nodule"} == {(1.0, 0.75, 0.0, 0.25)}
    assert all(p.ratings[1] == -1 for p in made if p.category == "simulated"), "nobody knows how malignant it is"
    draw = examples.draws([p.category for p in made], np.array([p.nodule for p in made]), ["case"] * len(made))
    shares = {c: float(draw[[p.category == c for p in made]].sum()) for c in count}
    whole = sum(examples.CATEGORIES[c] for c in count)
    assert shares == pytest.approx({c: examples.CATEGORIES[c] / whole for c in count})


def test_the_segment_is_the_part_at_the_mark_and_stays_in_the_grid() -> None:
    shape = (40, 60, 60)
    whole = np.maximum(ball(shape, (4, 30, 30), 6), ball(shape, (22, 30, 30), 4))
    at = np.array([4.0, 31.0, 30.0])
    piece = segment(patches.cut(whole, at, 1.0, 0.0), at, 1.0, shape, 0.5)
    assert piece.sure
    assert piece.offset.min() >= 0
    truth = (ball(shape, (4, 30, 30), 6) >= 0.5) & (np.arange(40) < 14)[:, None, None]
    assert piece.dice(truth) > 0.95
    assert np.linalg.norm(piece.centre - np.argwhere(truth).mean(0)) < 0.5
    unsure = segment(patches.cut(0.3 * whole, at, 1.0, 0.0), at, 1.0, shape, 0.5)
    assert not unsure.sure
    assert unsure.dice(truth) > 0.9
    nothing = segment(np.zeros((32, 32, 32), np.float32), at, 1.0, shape, 0.5)
    assert nothing.mask.any()


def looked(places: list[tuple[float, float, float]], first: list[float], second: list[float]) -> detect.Looked:
    shape = (60, 60, 60)
    whole = np.maximum.reduce([ball(shape, p, 5) for p in places])
    at = np.array(places, float)
    cuts = np.stack([patches.cut(whole, p, 1.0, 0.0) for p in at])
    found = detect.candidates.Candidates(at, np.full(len(at), 3.0), np.zeros((len(at), 3)), np.zeros((len(at), 7)))
    return detect.Looked(
        found, np.zeros((len(at), len(features.NAMES)), np.float32), np.array(first), np.array(second), cuts * 20 - 10,
        cuts, np.full((len(at), 4), 0.5), np.zeros((len(at), 8)),
    )  # fmt: skip


def test_marks_of_one_nodule_are_one_and_both_looks_count() -> None:
    said = looked([(20, 20, 20), (22, 20, 21), (40, 40, 40)], [1.0, 3.0, 2.0], [2.0, 0.5, -4.0])
    marks = detect.marks_of(said, detect.Weighing(1.0, 2.0), (60, 60, 60), -100.0)
    assert [m.score for m in marks] == [5.0, -6.0]
    assert (marks[0].first, marks[0].second) == (1.0, 2.0)
    assert np.linalg.norm(marks[0].index - (20.5, 20, 20.3)) < 2
    assert marks[0].ratings["texture"] == 3.0
    assert [m.score for m in detect.marks_of(said, detect.Weighing(1.0, 2.0), (60, 60, 60), 0.0)] == [5.0]
    assert detect.marks_of(None, detect.Weighing(1.0, 1.0), (60, 60, 60), 0.0) == []
    assert detect.read_weighing(json.dumps(detect.Weighing(1.0, 2.0).as_json()).encode()) == detect.Weighing(1.0, 2.0)
    with pytest.raises(BadInput):
        detect.read_weighing(b"[]")


def test_contributions_add_up_to_the_log_odds_of_the_probability() -> None:
    random = np.random.default_rng(0)
    slopes = random.normal(size=len(features.NAMES)).astype(np.float32)

    def first(rows: np.ndarray) -> np.ndarray:
        return np.tanh(rows @ slopes / 10) * 5 + rows[:, 0] * rows[:, 20]

    row, typical = random.normal(size=(2, len(features.NAMES))).astype(np.float32)
    weighing = detect.Weighing(0.7, 1.3)
    calibration = Calibration(kind="platt", slope=0.8, offset=-1.0, prior_shift=-0.5)
    said = looked([(20, 20, 20)], [float(first(row[None])[0])], [2.5])
    (mark,) = detect.marks_of(said, weighing, (60, 60, 60), -100.0)
    mark = replace(mark, row=row)
    parts = explain.Explanation(typical, -3.0, weighing, calibration, first).contributions(mark)
    assert sum(p.weight for p in parts) == pytest.approx(float(calibration.log_odds(np.array(mark.score))), abs=1e-3)
    assert len(parts) == len(features.GROUPS) + 2
    # People read them: words and units, no name of a variable; the baseline has no value of its own.
    assert parts[0].value is None
    assert all(re.fullmatch(r"[a-z -]+: [A-Za-z0-9 .,-]+", part.feature) for part in parts[1:])
    network = next(p for p in parts if p.feature == explain.NETWORK)
    assert network.weight == pytest.approx(0.8 * 1.3 * 5.5, abs=1e-3)


def test_the_heat_map_lies_on_the_segments_box_of_the_source() -> None:
    array = np.zeros((30, 75, 75), np.int16)
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    uids = tuple(f"1.2.{n}" for n in range(30))
    thick = Volume(array, affine, "1.2", "1.3", "1.4", "CT", "HU", uids, (1,) * 30)
    grid = resample(thick, 1.0)
    said = looked([(20, 20, 20)], [1.0], [1.0])
    (mark,) = detect.marks_of(said, detect.Weighing(1.0, 1.0), grid.hu.shape, -9.0)
    source = SourceMask(np.ones((9, 20, 20), bool), (6, 15, 15))
    heat = explain.heat_map(mark, grid, source)
    assert heat.shape == source.mask.shape
    assert heat.dtype == np.float32
    assert (heat.min(), heat.max()) == (0.0, 1.0)
    hottest = np.argwhere(heat > 0.5).mean(0) + source.offset
    assert np.abs(hottest * (2.0, 0.8, 0.8) - 20).max() < 1.5, "the ball at 20 mm"


def ratings(**more: float) -> dict[str, float]:
    return {"texture": 5.0, "malignancy": 3.0, "spiculation": 1.0, "lobulation": 1.0} | more


def test_characteristics_follow_the_ratings_and_lime_is_a_rule() -> None:
    random = np.random.default_rng(0)
    truth = {name: random.integers(1, 6, 300).astype(float) for name in ("texture", "spiculation", "lobulation")}
    said = {name: np.clip(values + random.normal(0, 0.7, 300), 1, 5) for name, values in truth.items()}
    learnt = characterise.learn(said, truth)
    for texture, kind in ((5.0, "solid"), (3.0, "part-solid"), (1.0, "ground-glass")):
        density = learnt.density(ratings(texture=texture))
        assert sum(density.values()) == pytest.approx(1)
        assert max(density, key=lambda name: density[name]) == kind
        told = characteristics_of(Said(characterise.describe(ratings(texture=texture), learnt, False)))
        assert told["density-type"] == kind
        assert told["calcification"] == "finding-absent"
    told = characteristics_of(Said(characterise.describe(ratings(spiculation=5.0), learnt, True)))
    assert (told["spiculation"], told["lobulation"], told["calcification"]) == ("present", "finding-absent", "present")
    kept = characterise.read_characteristics(json.dumps(learnt.as_json()).encode())
    assert kept.density(ratings(texture=2.0)) == pytest.approx(learnt.density(ratings(texture=2.0)))
    with pytest.raises(BadInput):
        characterise.read_characteristics(b"{}")
    hu = np.full((9, 9, 9), 20)
    assert not characterise.calcified(hu, hu > 0)
    hu[3:7, 3:7, 3:8] = 400
    assert characterise.calcified(hu, hu > 0)


class Said:
    """As much of a finding as the rules read."""

    measurements = ()
    axes = ()

    def __init__(self, characteristics: tuple[characterise.Characteristic, ...]) -> None:
        self.characteristics = characteristics


def test_the_solid_part_is_the_largest_dense_piece() -> None:
    hu = np.full((20, 30, 30), -600, np.int16)
    hu[8:12, 10:16, 10:14] = 20
    hu[3, 25, 25] = 20
    source = SourceMask(np.ones((16, 28, 28), bool), (2, 1, 1))
    part = characterise.solid_part(hu, source)
    assert part is not None
    assert (part.offset, part.mask.shape) == ((8, 10, 10), (4, 6, 4))
    assert characterise.solid_part(np.full_like(hu, -600), source) is None


def nodules(count: int) -> list[LidcNodule]:
    random = np.random.default_rng(1)
    made = []
    for n in range(count):
        size = float(random.uniform(3, 25))
        chance = sigmoid(np.array((size - 10) / 3))
        rows = tuple(
            ratings(malignancy=1 + 4 * float(random.random() < chance), eq_diameter_mm=size, calcified=0.0)
            for _ in range(4)
        )
        made.append(LidcNodule(f"p{n}", rows))
    return made


def test_malignancy_is_learnt_without_the_locked_patients() -> None:
    some = nodules(200)
    learnt = malignancy.learn(some, frozenset({"p1", "p2"}), 3)
    assert learnt.report["all"]["n"] <= 198
    assert learnt.report["all"]["auc"] > 0.8
    assert learnt.report["all"]["auc"] == pytest.approx(learnt.report["all"]["auc_diameter_alone"], abs=0.05)
    chances = [learnt.model.probability(mm, ratings(), False) for mm in (4, 8, 12, 20)]
    assert chances == sorted(chances)
    kept = malignancy.read_malignancy(json.dumps(learnt.model.as_json()).encode())
    assert kept == learnt.model
    other = [*some[:1], LidcNodule("p1", tuple(dict(row, malignancy=1.0) for row in some[1].rows)), *some[2:]]
    assert malignancy.learn(other, frozenset({"p1", "p2"}), 3).model == learnt.model, "p1 says nothing"
    with pytest.raises(BadInput):
        malignancy.learn(some[:5], frozenset(), 3)


def test_the_nearest_case_of_a_case_is_itself() -> None:
    random = np.random.default_rng(0)
    made = random.normal(size=(20, 40)) * random.uniform(0.1, 5, 40)
    cases = similar.learn(made, [f"case-{n}" for n in range(20)], [f"{n} mm" for n in range(20)])
    kept = similar.read_cases(json.dumps(cases.as_json()).encode())
    for n in (0, 7, 19):
        found = kept.nearest(made[n] + random.normal(0, 0.01, 40))
        assert len(found) == similar.SHOWN
        assert (found[0].case, found[0].description) == (f"case-{n}", f"{n} mm")
        assert [f.distance for f in found] == sorted(f.distance for f in found)
    with pytest.raises(BadInput):
        similar.read_cases(b'{"keys": []}')
