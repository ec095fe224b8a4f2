"""The training engine on a toy that learns in a second: seeded, resumed after a kill, in budget, and exported."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import pytest
import yaml
from learning_support import examples, recipe, slow_augment  # noqa: F401
from pydantic import ValidationError

from readingroom.core.errors import BadInput
from readingroom.evaluation.leaks import LeakFound, check_no_leak
from readingroom.learning.engine import run as engine
from readingroom.learning.engine.recipe import read_recipe
from readingroom.learning.engine.run import OutOfTime, train
from readingroom.learning.engine.search import search

ROOT = Path(__file__).parents[2]


def ignore(step: str, done: float) -> None: ...


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "network.onnx").read_bytes()).hexdigest()


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    told: list[float] = []
    log = train(recipe(), folder, folder / "run", 7, lambda step, done: told.append(done))
    assert log["out_of_fold"] == {"networks": 2}
    assert told == sorted(told)
    return folder / "run"


def test_it_learns_and_says_all_about_itself(trained: Path) -> None:
    facts = json.loads((trained / "run.json").read_text("utf-8"))
    assert facts["state"] == "done"
    assert facts["seed"] == 7
    assert facts["recipe_sha256"] == recipe().sha256
    assert {"torch", "numpy", "onnxruntime", "python"} <= set(facts["versions"])
    assert (facts["examples"], facts["groups"]) == (160, 40)
    validated = [line for line in lines(trained) if "validation" in line]
    assert [line["fold"] for line in validated] == [0, 1]
    assert all(line["validation"]["accuracy"] > 0.9 for line in validated)  # type: ignore[index]
    assert facts["onnx_largest_difference"] < 1e-4
    assert str(trained.parent) not in (trained / "run.json").read_text("utf-8")
    assert facts["files"]["network.onnx"] == weights(trained)
    assert "run.json" not in facts["files"]


def test_what_is_exported_answers_as_trained(trained: Path) -> None:
    made = examples(trained, 0, 1, ignore)
    session = onnxruntime.InferenceSession((trained / "network.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    (upper,) = session.run(None, {"image": made.arrays["image"]})
    assert ((upper > 0) == (made.arrays["upper"] > 0)).mean() > 0.9


def test_another_seed_gives_other_weights_and_the_same_seed_the_same(trained: Path, tmp_path: Path) -> None:
    train(recipe(), tmp_path, tmp_path / "same", 7, ignore)
    train(recipe(), tmp_path, tmp_path / "other", 8, ignore)
    assert weights(tmp_path / "same") == weights(trained)
    assert weights(tmp_path / "other") != weights(trained)


def _train_slowly(folder: str) -> None:
    train(recipe(augment="learning_support:slow_augment"), Path(folder), Path(folder) / "run", 7, ignore)


def test_killed_and_resumed_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "KEPT_EVERY_SECONDS", 0.2)
    slow = recipe(augment="learning_support:slow_augment")
    whole = tmp_path / "whole"
    whole.mkdir()
    train(slow, whole, whole / "run", 7, ignore)
    folder = tmp_path / "killed"
    folder.mkdir()
    process = multiprocessing.get_context("fork").Process(target=_train_slowly, args=(str(folder),))
    process.start()
    deadline = time.monotonic() + 60
    while not (folder / "run" / "fold-1.state").exists() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    assert (folder / "run" / "fold-1.state").exists(), "it was killed in the middle of the second network"
    assert not (folder / "run" / "network.onnx").exists()
    with pytest.raises(BadInput, match="holds a run already"):
        train(slow, folder, folder / "run", 7, ignore)
    train(slow, folder, folder / "run", 7, ignore, resume=True)
    assert weights(folder / "run") == weights(whole / "run")
    for other in (slow.model_copy(update={"batch": 16}), None):
        with pytest.raises(BadInput, match="begun with another"):
            train(other or slow, folder, folder / "run", 7 if other else 8, ignore, resume=True)


def _train_at_once(folder: str) -> None:
    both = recipe(augment="learning_support:slow_augment", at_once=2)
    train(both, Path(folder), Path(folder) / "run", 7, ignore)


def test_folds_trained_at_one_time_become_the_same_and_end_with_their_parent(trained: Path, tmp_path: Path) -> None:
    train(recipe(at_once=2), tmp_path, tmp_path / "run", 7, ignore)
    assert weights(tmp_path / "run") == weights(trained)
    folder = tmp_path / "killed"
    folder.mkdir()
    process = multiprocessing.get_context("spawn").Process(target=_train_at_once, args=(str(folder),))
    process.start()
    log, deadline = folder / "run" / "log.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and process.is_alive():
        if log.exists() and {line["fold"] for line in lines(folder / "run")} == {0, 1}:
            break
        time.sleep(0.05)
    assert process.is_alive(), "both were in training at one time"
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not (folder / "run" / "network.onnx").exists()


def test_a_budget_that_is_used_up_is_told_by_folds_trained_at_one_time(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match="--resume"):
        train(recipe(minutes=0.001, at_once=2), tmp_path, tmp_path / "run", 7, ignore)
    with pytest.raises(ValidationError, match="one thread each"):
        recipe(threads=2, at_once=2)


def test_the_budget_is_kept_and_the_rest_done_later(trained: Path, tmp_path: Path) -> None:
    short = recipe(minutes=0.001)
    with pytest.raises(OutOfTime, match="--resume"):
        train(short, tmp_path, tmp_path / "run", 7, ignore)
    assert (tmp_path / "run" / "fold-0.state").exists()
    # The budget and the name of the version change nothing that is learnt.
    train(recipe(version="1.0.1"), tmp_path, tmp_path / "run", 7, ignore, resume=True)
    assert weights(tmp_path / "run") == weights(trained)
    facts = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert (facts["reader_version"], len(facts["earlier_commits"])) == ("1.0.1", 1)


def test_a_search_keeps_every_trial_and_takes_the_best(tmp_path: Path) -> None:
    best = search(recipe(), tmp_path, tmp_path / "search", 5, 4, ignore)
    trials = [json.loads(line) for line in (tmp_path / "search" / "trials.jsonl").read_text().splitlines()]
    assert [t["trial"] for t in trials] == [0, 1, 2, 3]
    assert trials[0]["settings"] == {}
    assert all(0.001 <= t["settings"]["rate"] <= 0.1 and t["settings"]["width"] in (2, 4) for t in trials[1:])
    top = max(trials, key=lambda t: (t["score"], -t["trial"]))
    assert best == recipe().with_settings(top["settings"])
    again = search(recipe(), tmp_path, tmp_path / "search", 5, 4, ignore)
    assert again == best, "a search that is done is not done again"


def test_a_patient_on_two_sides_stops_it_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "leak").touch()
    with pytest.raises(LeakFound, match="also in") as caught:
        train(recipe(), tmp_path, tmp_path / "run", 7, ignore)
    assert "patient 1" not in str(caught.value)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_flip_along_the_side_axis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="left into right"):
        train(recipe(side_axis=2), tmp_path, tmp_path / "run", 7, ignore)


def test_a_diverging_export_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = onnxruntime.InferenceSession

    class Off(original):  # type: ignore[misc, valid-type]
        def run(self, *given: object) -> list[np.ndarray]:
            return [value + 0.5 for value in super().run(*given)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Off)
    with pytest.raises(BadInput, match="differs"):
        train(recipe(draws=64, epochs=1), tmp_path, tmp_path / "run", 7, ignore)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epochs": 0}, "epochs"),
        ({"colour": 1}, "colour"),
        ({"loss": "os.system"}, "loss"),
        ({"search": {"space": {"depth": {"among": [1]}}}}, "depth"),
        ({"search": {"space": {"rate": {"low": 2, "high": 1}}}}, "low < high"),
    ],
)
def test_a_wrong_recipe_names_its_field(change: dict[str, object], word: str, tmp_path: Path) -> None:
    whole = recipe().model_dump(mode="json") | change
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(BadInput, match=word):
        read_recipe(path)


def test_a_recipe_that_names_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such module"):
        train(recipe(examples="nowhere.at_all:x"), tmp_path, tmp_path / "run", 7, ignore)
    with pytest.raises(BadInput, match="no such name"):
        train(recipe(examples="learning_support:missing"), tmp_path, tmp_path / "run", 7, ignore)


def test_a_leak_is_found_whatever_the_parts_are_called() -> None:
    check_no_leak({"train": ["a", "b"], "test": ["c"], "validation": []})
    with pytest.raises(LeakFound, match="1 of the patients of 'train'"):
        check_no_leak({"train": ["a", "b"], "validation": ["c"], "test": ["b", "d"]})
