"""The parts of head-ct-triage on constructed heads and numbers: pictures, the head, simulated bleeds, scores, marks."""

import json
from pathlib import Path

import numpy as np
import pytest
from head_support import Bleed, head_hu, head_series, save

from readingroom.core.errors import BadInput
from readingroom.imaging.volume import Volume
from readingroom.inference.calibration import Calibration
from readingroom.intake.study import load_study
from readingroom.readers.head_ct_triage import head, human, implant, marks, measures, picture, position, scores, slices
from readingroom.readers.head_ct_triage.look import Looked
from readingroom.readers.head_ct_triage.slices import CLASSES

LEFT = Bleed((40.0, 12.0, 80.0))


def volume_of(
    folder: Path, flip: tuple[bool, bool, bool] = (False, False, False), bleed: Bleed | None = LEFT
) -> Volume:
    made = head_series(head_hu(bleed=bleed), flip)
    intake = load_study({str(made[0].SeriesInstanceUID): save(folder, made)})
    volume = intake.series[0].volume
    assert volume is not None
    return volume


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    return volume_of(tmp_path_factory.mktemp("head"))


@pytest.mark.parametrize("flip", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)])
def test_the_picture_is_the_same_however_slices_are_stored(
    volume: Volume, tmp_path: Path, flip: tuple[bool, bool, bool]
) -> None:
    plain, other = picture.picture_of(volume), picture.picture_of(volume_of(tmp_path, flip))
    assert np.array_equal(plain.brain, other.brain)
    assert np.array_equal(plain.bone, other.bone)
    assert [len(group) for group in plain.slices] == [1] * len(volume.array)


def test_windows_are_those_of_the_set() -> None:
    hu = np.array([-1000.0, -20.0, 40.0, 100.0, 900.0])
    assert picture.windowed(hu, picture.BRAIN).tolist() == [0, 0, 127.5, 255, 255]
    assert picture.windowed(hu, picture.BONE)[[0, 2]] == pytest.approx([0, 75], abs=1)


def test_thin_slices_are_averaged(volume: Volume) -> None:
    thin = Volume(
        **{
            **{name: getattr(volume, name) for name in Volume.__dataclass_fields__},
            "affine": volume.affine @ np.diag([1, 1, 0.2, 1]),
        }
    )
    made = picture.picture_of(thin)
    assert [len(group) for group in made.slices] == [5] * (len(volume.array) // 5)
    assert made.slices[0].tolist() == [0, 1, 2, 3, 4]


def test_the_square_is_the_head_s_wherever_it_lies() -> None:
    brain = np.rint(picture.windowed(head_hu().astype(np.float32), picture.BRAIN)).astype(np.uint8)
    square = head.find_head(brain)
    assert (square.row, square.column) == pytest.approx((127.5, 127.5), abs=1)
    assert square.side == pytest.approx(1.1 * 190, rel=0.03)
    moved = head.find_head(np.roll(brain, (20, -15), axis=(1, 2)))
    assert (moved.row, moved.column) == pytest.approx((147.5, 112.5), abs=1)
    assert (
        np.abs(head.seen(brain, square)[10].astype(int) - head.seen(np.roll(brain, 20, axis=1), moved)[10]).max() >= 0
    )
    table = brain.copy()
    table[:, 250:253, 20:240] = 200
    assert head.find_head(table) == square
    with pytest.raises(BadInput, match="No head"):
        head.find_head(np.zeros((5, 256, 256), np.uint8))


def test_a_slice_stands_between_its_neighbours() -> None:
    stack = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    assert head.neighbours(stack)[:, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]


def test_simulated_bleeds_lie_within_the_skull_and_are_brighter() -> None:
    brain = np.rint(picture.windowed(head_hu().astype(np.float32), picture.BRAIN)).astype(np.uint8)
    seen = head.seen(brain, head.find_head(brain))
    greys = head.neighbours(seen)[14].astype(np.float32)
    within = head.inside(seen[14])
    assert 5000 < within.sum() < 14000
    random = np.random.default_rng(3)
    kinds = set()
    for _ in range(40):
        put = implant.implant(greys, within, random)
        if put is None:
            continue
        changed, where, kind = put
        kinds.add(kind)
        assert not where[~within].any()
        assert (changed[1] - greys[1])[where].mean() >= 12
        far = ~within
        assert np.array_equal(changed[:, far], greys[:, far])
    assert kinds == set(slices.TYPES) - {"subarachnoid"}, "this head has no furrows; its ventricles are there"
    assert implant.implant(greys, np.zeros_like(within), random) is None


def test_a_scan_is_its_highest_slices_and_points_are_as_fixed() -> None:
    said = np.zeros((6, len(CLASSES)))
    said[:, 0] = [0, 5, 1, 4, 3, 0]
    assert scores.scan_score(said)[0] == 4
    truth = np.array([True] * 10 + [False] * 10)
    chance = np.concatenate([np.linspace(0.1, 1.0, 10), np.linspace(0, 0.5, 10)])
    assert scores.operating_point(truth, chance) == pytest.approx(0.2), "nine of ten bleeding patients reach it"
    at = scores.slice_point(np.zeros(100, bool), np.arange(100) / 100)
    assert (np.arange(100) / 100 < at).mean() == pytest.approx(0.95, abs=0.01)


def test_calibrations_survive_json() -> None:
    one = Calibration(kind="platt", slope=2.0, offset=-1.0)
    made = scores.Calibrations(dict.fromkeys(CLASSES, one), dict.fromkeys(CLASSES, one), 0.4)
    again = scores.read_calibrations(json.dumps(made.as_json()).encode())
    assert again.scans["subdural"] == one
    assert again.slice_point == 0.4
    with pytest.raises(BadInput):
        scores.read_calibrations(b"{}")


def test_a_score_made_of_height_alone_is_seen_through() -> None:
    random = np.random.default_rng(0)
    height = np.tile(slices.heights(30), 40)
    patient = np.repeat(np.arange(40), 30)
    truth = np.zeros((1200, len(CLASSES)), bool)
    truth[:, 0] = (height > 0.3) & (height < 0.7) & (random.random(1200) < 0.5)
    by_height = np.tile(position.score(height, position.learn(height, truth[:, 0]))[:, None], (1, len(CLASSES)))
    judged = measures.Judged(by_height, truth, patient, height, by_height, np.zeros(1200, bool))
    found = measures.measure(judged)
    assert found["auc_hemorrhage_position_only"]["value"] > 0.8
    assert found["auc_hemorrhage_slice"]["value"] == found["auc_hemorrhage_position_only"]["value"]
    assert abs(found["auc_hemorrhage_slice_position_matched"]["value"] - 0.5) < 0.06
    assert found["auc_hemorrhage_slice"]["positives"] == int(truth[:, 0].sum())
    assert not any("fracture" in name for name in found), "no bone window, nothing of fractures"


@pytest.mark.parametrize("flip", [(False, False, False), (True, True, True)])
def test_the_mark_lies_where_the_map_is_highest(tmp_path: Path, flip: tuple[bool, bool, bool]) -> None:
    volume = volume_of(tmp_path, flip)
    made = picture.picture_of(volume)
    square = head.find_head(made.brain)
    # A map that is what the picture shows: the cell of the bleed.
    cells, strongest = 20, 16
    where = np.full((len(made.brain), cells, cells), -6.0)
    column = (LEFT.lps_mm[0] / square.side * 250 / 256 * head.SEEN / 0.954 + head.SEEN / 2) / 8
    where[strongest, 11, int(column)] = 4.0
    looked = Looked(np.zeros((len(where), len(CLASSES))), where, np.zeros((1, 1)), square)
    shown = np.zeros(len(where), bool)
    shown[strongest] = True
    mark = marks.mark_of(looked, shown, strongest, made, volume)
    x, y, z = volume.to_lps(mark.index)
    assert x == pytest.approx(LEFT.lps_mm[0], abs=8)
    assert y == pytest.approx(LEFT.lps_mm[1], abs=12)
    assert z == pytest.approx(80.0, abs=0.1)
    assert mark.mask.mask.any()
    assert mark.heat.shape == mark.mask.mask.shape
    assert mark.heat.max() == 1
    top = np.argwhere(mark.heat == mark.heat.max()).mean(axis=0) + mark.mask.offset
    assert np.linalg.norm(volume.to_lps(top) - volume.to_lps(mark.index)) < 8


def test_kappa_of_three_readers(tmp_path: Path) -> None:
    columns = [f"R{n}:{c}" for n in human.READERS for c in human.COLUMNS.values()]
    lines = [",".join(columns)]
    for scan in range(20):
        lines.append(",".join(str(int(scan < 8 or (scan == 9 and name.startswith("R1")))) for name in columns))
    (tmp_path / human.TABLE).write_text("\n".join(lines))
    found = human.agreement(tmp_path)
    one = found["classes"]["hemorrhage"]
    assert found["scans"] == 20
    assert one["positive_by_majority"] == 8
    assert 0.8 < one["fleiss_kappa"]["value"] < 1
    assert max(pair["value"] for pair in one["cohen_kappa_pairs"]) == 1
    with pytest.raises(BadInput):
        human.agreement(tmp_path / "nowhere")
