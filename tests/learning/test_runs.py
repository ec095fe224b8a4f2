"""Training runs as the page gets them: written by the engine itself, killed, out of time, searched, and hostile."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import learning_support
import pytest
from learning_support import loss, recipe, slow_augment  # noqa: F401

from readingroom.core.errors import BadInput, NotFound
from readingroom.learning import runs
from readingroom.learning.engine import run as engine
from readingroom.learning.engine.run import OutOfTime, held, train
from readingroom.learning.engine.search import search
from readingroom.learning.run_files import LogLine, read_lines
from readingroom.learning.runs import POINTS, RunState, list_runs, run_detail, run_id_of


def ignore(step: str, done: float) -> None: ...


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run of two folds that was searched for first, and is done."""
    home = tmp_path_factory.mktemp("home")
    out = home / "runs" / "toy-1"
    best = search(recipe(), home, out / "search", 5, 3, ignore)
    train(best, home, out, 7, ignore)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(made, tmp_path / "home"))


def old(folder: Path) -> None:
    """As if nothing had been told of the run for an hour."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - 3600,) * 2)


def change(folder: Path, **facts: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | facts))


def only(home: Path) -> runs.RunSummary:
    total, (one,) = list_runs(home)
    assert total == 1
    return one


def test_a_home_without_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == (0, [])
    with pytest.raises(NotFound):
        run_detail(tmp_path, run_id_of("toy-1"))


def test_a_run_that_is_done(made: Path) -> None:
    one = only(made)
    assert (one.name, one.reader, one.version, one.state) == ("toy-1", "toy", "1.0.0", RunState.DONE)
    assert (one.progress, one.folds, one.steps, one.left_seconds) == (1.0, 2, recipe().steps, None)
    detail = run_detail(made, one.id)
    assert {(c.fold, c.name) for c in detail.curves} == {(f, n) for f in (0, 1) for n in ("loss", "upper")}
    assert all(c.steps == sorted(c.steps) and len(c.steps) == len(c.values) > 2 for c in detail.curves)
    loss = next(c for c in detail.curves if (c.fold, c.name) == (0, "loss"))
    assert loss.values[-1] < loss.values[0]
    assert [v.fold for v in detail.validation] == [0, 1]
    assert all(v.n == 80 and 0.5 < v.metrics["accuracy"] <= 1 for v in detail.validation)
    facts = json.loads((made / "runs" / "toy-1" / "run.json").read_text("utf-8"))
    for name in ("recipe_sha256", "data_sha256", "seed", "versions", "commit", "onnx_largest_difference"):
        assert detail.facts[name] == facts[name], name
    assert detail.notes == []
    assert str(made) not in detail.model_dump_json()


def test_trials_are_sorted_and_the_chosen_one_marked(made: Path, home: Path) -> None:
    detail = run_detail(made, run_id_of("toy-1"))
    scores = [t.score for t in detail.trials]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert [t.chosen for t in detail.trials] == [True, False, False]
    path = home / "runs" / "toy-1" / "search" / "trials.jsonl"
    failed = {"trial": 3, "settings": {"rate": 9.0}, "epochs": 2, "state": "failed", "score": None, "seconds": 1.0}
    best = {**failed, "trial": 4, "state": "done", "score": 9.0}
    with path.open("a") as file:
        file.write(json.dumps(failed | {"reason": "no number at /home/somebody/data/x.npy"}) + "\n")
        file.write(json.dumps(best) + "\n")
    trials = run_detail(home, run_id_of("toy-1")).trials
    assert [t.trial for t in trials[:1] + trials[-1:]] == [4, 3]
    # The run was not trained with the settings of the best one.
    assert not any(t.chosen for t in trials)
    assert trials[-1].reason == "no number at …"


def _train_slowly(home: str) -> None:
    train(recipe(augment="learning_support:slow_augment"), Path(home), Path(home) / "runs" / "slow", 7, ignore)


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def test_a_run_in_training_killed_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "KEPT_EVERY_SECONDS", 0.2)
    folder = tmp_path / "runs" / "slow"
    process = multiprocessing.get_context("fork").Process(target=_train_slowly, args=(str(tmp_path),))
    process.start()
    try:
        until(lambda: (folder / "fold-0.state").exists() and (folder / "log.jsonl").exists(), "it trains")
        old(folder)
        # Quiet for an hour, but its process is there.
        one = only(tmp_path)
        assert one.state is RunState.TRAINING
        assert (one.fold, one.folds) == (0, 2)
        assert 0 < one.progress < 1
        assert one.left_seconds is not None
        assert one.budget_seconds == 300
        assert 0 < one.left_seconds < 300
        with pytest.raises(BadInput, match="Another process trains into slow"):
            train(recipe(augment="learning_support:slow_augment"), tmp_path, folder, 7, ignore, resume=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        process.join()
    assert only(tmp_path).state is RunState.TRAINING, "something was told of it a moment ago"
    old(folder)
    one = only(tmp_path)
    assert one.state is RunState.INTERRUPTED
    assert "--resume" in one.reason
    train(recipe(augment="learning_support:slow_augment"), tmp_path, folder, 7, ignore, resume=True)
    assert only(tmp_path).state is RunState.DONE


def test_out_of_time_and_gone_on_with_a_larger_budget(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "short"
    with pytest.raises(OutOfTime):
        train(recipe(minutes=0.001), tmp_path, folder, 7, ignore)
    one = only(tmp_path)
    assert one.state is RunState.STOPPED
    assert one.reason.startswith("The time budget of 0.001 minutes is used up at step")
    started = json.loads((folder / "run.json").read_text())["started_at"]
    train(recipe(minutes=4), tmp_path, folder, 7, ignore, resume=True)
    one = only(tmp_path)
    assert (one.state, one.budget_seconds) == (RunState.DONE, 240)
    assert json.loads((folder / "run.json").read_text())["started_at"] == started


def broken_loss(outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    return {name: part * float("nan") for name, part in loss(outputs, batch).items()}


def test_what_goes_wrong_is_the_reason_and_anothers_run_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_support, "loss", broken_loss)
    with pytest.raises(BadInput, match="no number any more"):
        train(recipe(), home, home / "runs" / "bad", 7, ignore)
    told = {one.name: one for one in list_runs(home)[1]}
    assert told["bad"].state is RunState.STOPPED
    assert told["bad"].reason.startswith("The loss is no number any more at step 20.")
    with pytest.raises(BadInput, match="holds a run already"):
        train(recipe(), home, home / "runs" / "toy-1", 7, ignore)
    assert told["toy-1"].state is RunState.DONE
    assert {one.name: one for one in list_runs(home)[1]}["toy-1"].state is RunState.DONE


def test_before_the_first_step(home: Path) -> None:
    folder = home / "runs" / "toy-1"
    (folder / "run.json").unlink()
    assert only(home).state is RunState.PREPARING
    assert len(run_detail(home, run_id_of("toy-1")).trials) == 3
    old(folder)
    assert only(home).state is RunState.INTERRUPTED
    with held(folder):
        assert only(home).state is RunState.PREPARING
    shutil.rmtree(folder)
    folder.mkdir()
    old(folder)
    one = only(home)
    assert (one.state, one.reason) == (RunState.UNREADABLE, "It holds no run.json.")


def test_curves_are_thinned_and_a_step_told_twice_counts_once() -> None:
    lines = [LogLine(fold=0, step=n, of=9999, loss=float(n), seconds=n) for n in range(1, 5001)]
    (one,) = runs.curves(lines)
    assert len(one.steps) <= POINTS
    assert one.steps == one.values
    assert sum(one.values) / len(one.values) == pytest.approx(2500.5)
    again = [LogLine(fold=0, step=n, of=9999, loss=7.0, seconds=n) for n in (1, 2)]
    (one,) = runs.curves([*lines[:3], *again])
    assert (one.steps, one.values) == ([1, 2, 3], [7, 7, 3])


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "run.json is not JSON."),
    "not UTF-8": (b'{"reader": "\xff"}', "run.json is not JSON."),
    "nested without end": (b"[" * 200_000, "run.json is not JSON."),
    "a list": (b"[]", "run.json is wrong: no facts of a run."),
    "no number": (b'{"seed": NaN}', "run.json is not JSON."),
    "a number without end": (b'{"seed": ' + b"9" * 5000 + b"}", "run.json is not JSON."),
    "too long": (b" " * (1 << 20) + b"{}", "run.json is longer than 1024 KiB."),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_facts_are_unreadable_with_the_reason(what: str, home: Path) -> None:
    data, reason = HOSTILE[what]
    (home / "runs" / "toy-1" / "run.json").write_bytes(data)
    one = only(home)
    assert (one.state, one.reason) == (RunState.UNREADABLE, reason)
    assert run_detail(home, one.id).reason == reason


@pytest.mark.parametrize(("field", "value"), [
    ("recipe_sha256", "../../etc"), ("seed", -1), ("state", "sleeping"), ("commit", "$(id)"), ("examples", 2**80),
    ("recipe", {"folds": 0}), ("versions", {str(n): "1" for n in range(99)}), ("started_at", "yesterday"),
])  # fmt: skip
def test_a_wrong_field_is_named_and_not_repeated(field: str, value: object, home: Path) -> None:
    change(home / "runs" / "toy-1", **{field: value})
    one = only(home)
    assert (one.state, one.reason) == (RunState.UNREADABLE, f"run.json is wrong: {field}.")


def test_paths_of_the_machine_are_not_told(home: Path) -> None:
    folder = home / "runs" / "toy-1"
    change(folder, data="/home/somebody/secret/cubes", machine="Linux at /srv/machines/7", device="C:\\Users\\me\\gpu")
    detail = run_detail(home, run_id_of("toy-1"))
    assert detail.facts["data"] == "cubes"
    for word in ("somebody", "secret", "srv", "Users", str(home)):
        assert word not in detail.model_dump_json()


def test_a_log_that_is_cut_and_broken_still_gives_its_curves(home: Path) -> None:
    path = home / "runs" / "toy-1" / "log.jsonl"
    with path.open("ab") as file:
        file.write(b'nonsense\n{"fold": 0, "seconds": 1, "step": 3, "loss": 1e999}\n{"fold": -1, "seconds": 1}\n')
        file.write(b'{"fold": 1, "step": 9')
    detail = run_detail(home, run_id_of("toy-1"))
    assert len(detail.curves) == 4
    assert detail.notes == ["3 lines of log.jsonl cannot be read and are left out."]
    lines, wrong = read_lines(path, LogLine, most=300)
    assert (len(lines) > 0, wrong) == (True, 3)


def test_links_pipes_and_odd_names(home: Path, tmp_path: Path) -> None:
    folder = home / "runs"
    outside = tmp_path / "outside"
    shutil.copytree(folder / "toy-1", outside)
    (folder / "link").symlink_to(outside)
    (folder / "a file").write_text("")
    for name, inside in (("piped", "run.json"), ("linked", "run.json"), ("piped-log", "log.jsonl")):
        shutil.copytree(folder / "toy-1", folder / name)
        (folder / name / inside).unlink()
        if name == "linked":
            (folder / name / inside).symlink_to(outside / inside)
        else:
            os.mkfifo(folder / name / inside)
    odd = os.fsdecode(b"../odd\n\xff <b>".replace(b"/", b":"))
    shutil.copytree(folder / "toy-1", folder / odd)
    total, found = list_runs(home)
    assert total == len(found) == 6
    told = {one.name: one for one in found}
    assert told["link"].reason == "It is a link, which is not followed."
    assert told["piped"].reason == "run.json is not a file."
    assert told["linked"].reason == "run.json is a link or cannot be opened."
    assert told["piped-log"].reason == "log.jsonl is not a file."
    (strange,) = [one for one in found if "odd" in one.name]
    assert strange.name.isprintable()
    assert run_detail(home, strange.id).state is RunState.DONE
    for wanted in ("../toy-1", "toy-1", "..", ""):
        with pytest.raises(NotFound):
            run_detail(home, wanted)
