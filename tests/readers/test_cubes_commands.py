"""``train`` and ``evaluate`` on made-up cubes laid out like the real set, and what bad folders get."""

import gzip
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

from readingroom.cli.main import main
from readingroom.core.errors import BadInput
from readingroom.imaging.nifti import read_nifti
from readingroom.readers.lung_nodule import examples, train
from readingroom.readers.lung_nodule.augment import random_shift, window
from readingroom.readers.lung_nodule.card import WEIGHTS
from readingroom.readers.lung_nodule.cubes import Cube, read_cubes
from readingroom.readers.lung_nodule.folds import TEST, part_of
from readingroom.readers.lung_nodule.reader import LungNoduleReader
from readingroom.readers.registry import recipe_of


def write_nifti(path: Path, array: np.ndarray) -> None:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *array.shape, 1, 1, 1, 1)
    kind, bits = {"int16": (4, 16), "uint8": (2, 8)}[array.dtype.name]
    struct.pack_into("<2h", header, 70, kind, bits)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)
    header[344:348] = b"n+1\x00"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(bytes(header) + array.tobytes(order="F"), 1))


def made_up(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A lung with vessels and one ball, and the ball's mask."""
    random = np.random.default_rng(number)
    grid = np.stack(np.meshgrid(*(np.arange(51),) * 3, indexing="ij"), axis=-1)
    radius = random.uniform(3, 8)
    mask = np.linalg.norm(grid - (25, 25, 25), axis=-1) <= radius
    image = np.where(mask, 30.0, -860.0)
    for _ in range(9):
        at, along = random.uniform(0, 50, 3), random.normal(size=3)
        along /= np.linalg.norm(along)
        away = grid - at
        distance = np.linalg.norm(away - (away @ along)[..., None] * along, axis=-1)
        image[distance <= random.uniform(0.8, 2.2)] = 0.0
    image = ndimage.gaussian_filter(image, 0.7) + random.normal(size=image.shape) * 20
    return image.astype(np.int16), mask.astype(np.uint8)


def rate(folder: Path, cases: list[str]) -> None:
    """Ratings of the cases, and beside their folder a made-up table of LIDC annotations of which two are joined."""
    random = np.random.default_rng(5)
    names = ("texture", "malignancy", "spiculation", "lobulation")
    head = ["Filename", *names, "lidc_patient_id", "pylidc_annotation_id"]
    lines = [",".join(head)]
    for n, case in enumerate(cases):
        said = [(5, 1, 3)[n % 3], 1 + 4 * (n % 2), 1 + n % 5, 1 + (n + 2) % 5]
        lines.append(",".join([case, *map(str, said), *(("LIDC-1", "1") if n == 0 else ("", ""))]))
    (folder / "lidc_join.csv").write_text("\n".join(lines))
    table = folder.parent / "lung_nodule_tables"
    table.mkdir(exist_ok=True)
    lines = [",".join(["id", "scan_id", "nodule_cluster", "patient_id", *names, "calcification", "eq_diameter_mm"])]
    for n in range(180):
        nodule = n // 3
        size = 4 + nodule % 17
        bad = 1 + 4 * (random.random() < 1 / (1 + np.exp(8 - size)))
        lime = 3 if nodule % 10 == 0 else 6
        lines.append(f"{n + 1},{nodule},0,LIDC-{nodule + 1},5,{bad},1,1,{lime},{size}")
    (table / "lidc_annotations.csv").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen cases under ids of their own, rated; one case without a nodule."""
    folder = tmp_path_factory.mktemp("set") / "cubes"
    for number in range(15):
        image, mask = made_up(number)
        write_nifti(folder / "images" / f"case-{number:03}.nii.gz", image)
        if number:
            write_nifti(folder / "masks" / f"case-{number:03}.nii.gz", mask)
    rate(folder, [f"case-{number:03}" for number in range(15)])
    return folder


def test_evaluate_writes_the_agreed_form(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "lung-nodule", "--data", str(folder), "--json", str(tmp_path / "e.json")]) == 0
    result = json.loads((tmp_path / "e.json").read_text("utf-8"))
    needed = {
        "reader", "version", "n_patients", "n_positive", "metrics", "operating_point", "data", "command",
        "matching_rule",
    }  # fmt: skip
    assert needed <= set(result)
    assert (result["reader"], result["n_patients"], result["n_positive"]) == ("lung-nodule", 15, 14)
    for name in ("sensitivity", "false_positives_per_litre"):
        metric = result["metrics"][name]
        assert set(metric) == {"value", "ci95", "n"}
        assert metric["ci95"][0] <= metric["value"] <= metric["ci95"][1]
    assert result["metrics"]["sensitivity"]["n"] == 14
    assert result["metrics"]["sensitivity"]["value"] >= 0.8, "balls in clean lung"
    assert str(folder) not in json.dumps(result)
    assert main(["evaluate", "lung-nodule", "--data", str(folder), "--json", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text("utf-8"))
    assert again["metrics"] == result["metrics"]


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own recipe, so small that it is trained in seconds: what it learns is worth nothing."""
    whole = yaml.safe_load(recipe_of("lung-nodule").read_text("utf-8"))
    small = {"draws": 64, "epochs": 2, "batch": 16, "threads": 1}
    whole |= small | {"network": whole["network"] | {"arguments": {"width": 2, "dropout": 0.1}}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(whole))
    monkeypatch.setattr("readingroom.cli.train.recipe_of", lambda name: path)
    monkeypatch.setattr(train, "VARIANTS", 1)
    for name in ("VARIANTS", "NEGATIVES_OF_VARIANT"):
        monkeypatch.setattr(examples, name, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_training_gives_the_same_weights_for_a_seed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in ("a", "b"):
        arguments = ["train", "lung-nodule", "--data", str(folder), "--out", str(tmp_path / out), "--seed", "4"]
        assert main(arguments) == 0
    told = capsys.readouterr()
    assert "fold" in told.err
    assert "Out of fold" in told.out
    for name in (*WEIGHTS, "card.yaml"):
        if name != "training.json":
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    log = json.loads((tmp_path / "a" / "training.json").read_text("utf-8"))
    assert log["seed"] == 4
    assert len(log["trained_on"]) == log["training_cases"]
    locked = sum(part_of(f"case-{n:03}") == TEST for n in range(15))
    assert log["locked_test_cases"] == locked
    # What training wrote is a whole reader: it loads, and reads what it was not trained on.
    shutil.copytree(tmp_path / "a", tmp_path / "reader" / "weights")
    shutil.copy(tmp_path / "a" / "card.yaml", tmp_path / "reader" / "card.yaml")
    reader = LungNoduleReader(tmp_path / "reader")
    assert reader.card.evidence.startswith("Out of fold")
    cubes, _ = read_cubes(folder)
    looked = reader.look(cubes[1].hu, np.ones(cubes[1].hu.shape, bool))
    assert all(m.segment.mask.any() for m in reader.marks(looked, cubes[1].hu.shape, 0.0001))
    # And it is resumed, not begun again, where it was left.
    again = [*arguments, "--resume"]
    assert main(again) == 0
    assert (tmp_path / "a" / "network.onnx").read_bytes() == (tmp_path / "b" / "network.onnx").read_bytes()


@pytest.mark.usefixtures("quick")
def test_without_ratings_training_says_what_is_missing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("images", "masks"):
        (bare / name).symlink_to(folder / name)
    assert main(["train", "lung-nodule", "--data", str(bare), "--out", str(tmp_path / "o")]) == 2
    assert "ratings" in capsys.readouterr().err


def test_what_was_trained_on_is_not_evaluated_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from readingroom.readers.lung_nodule import evaluate

    cubes, _ = read_cubes(folder)
    (tmp_path / "weights").mkdir()
    log = {"trained_on": [c.fingerprint for c in cubes]}
    (tmp_path / "weights" / "training.json").write_text(json.dumps(log))
    monkeypatch.setattr(evaluate, "HERE", tmp_path)
    assert main(["evaluate", "lung-nodule", "--data", str(folder), "--json", str(tmp_path / "e.json")]) == 2
    assert "used in training" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_bad_folders_are_named_and_exit_2(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = ["--out", str(tmp_path / "o")] if command == "train" else ["--json", str(tmp_path / "j")]
    (tmp_path / "empty" / "images").mkdir(parents=True)
    (tmp_path / "empty" / "images" / "x.nii.gz").write_bytes(b"not gzip")
    for data, word in (("missing", "not a folder"), ("", "images"), ("empty", "could be read")):
        assert main([command, "lung-nodule", "--data", str(tmp_path / data), *last]) == 2
        assert word in capsys.readouterr().err
    assert main([command, "no-such-reader", "--data", str(tmp_path), *last]) == 2
    assert "lung-nodule" in capsys.readouterr().err


def test_nifti_round_trip_and_refusals(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path / "a.nii.gz"
    write_nifti(path, array)
    assert (read_nifti(path) == array).all()
    whole = gzip.decompress(path.read_bytes())
    for bad in (b"", whole[:300], whole[:-5], b"\x00" * 400, whole[:40] + b"\xff" * 16 + whole[56:]):
        path.write_bytes(gzip.compress(bad))
        with pytest.raises(BadInput):
            read_nifti(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput):
        read_nifti(path)


def test_a_window_is_a_crop_that_moves_the_nodule() -> None:
    image, mask = made_up(1)
    cube = Cube("x", image, mask > 0)
    random = np.random.default_rng(0)
    shifts = [random_shift(random, 15.0) for _ in range(300)]
    assert max(np.linalg.norm(s) for s in shifts) <= 15
    assert np.mean([np.linalg.norm(s) for s in shifts]) > 8
    part, start = window(cube, np.array([10, -4, 0]))
    assert part.hu.shape == (41, 47, 51)
    assert part.centre == pytest.approx(cube.centre - start)  # type: ignore[operator]


def test_the_split_is_by_id_alone_and_about_four_in_fifteen() -> None:
    parts = [part_of(f"case-{n}") for n in range(3000)]
    assert 0.23 < parts.count(TEST) / 3000 < 0.30
    assert set(parts) == {TEST, 0, 1, 2, 3, 4}
    assert part_of("103_nod1_ann0") == part_of("103_nod1_ann0")
