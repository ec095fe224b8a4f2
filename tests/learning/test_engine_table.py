"""The engine on a table: a model a fold that never sees it, the run's folder, and what a page makes of it."""

import json
from pathlib import Path

import pytest
from table_support import recipe, seen

from readingroom.core.errors import BadInput
from readingroom.evaluation.leaks import LeakFound
from readingroom.learning.engine.recipe import read_recipe
from readingroom.learning.engine.run import OutOfTime
from readingroom.learning.engine.table import train_table
from readingroom.learning.runs import RunState, list_runs, run_detail


def ignore(step: str, done: float) -> None: ...


def test_each_model_is_fitted_without_its_fold_and_the_last_with_all(tmp_path: Path) -> None:
    seen.clear()
    home = tmp_path / "home"
    told: list[float] = []
    run = home / "runs" / "one"
    log = train_table(recipe(), tmp_path, run, 7, lambda step, done: told.append(done))
    assert log["out_of_fold"] == {"folds": 2}
    assert told == sorted(told)
    every = set(range(30))
    assert seen == [{n for n in every if n // 3 % 2 != k} for k in (0, 1)] + [every]
    facts = json.loads((run / "run.json").read_text())
    assert (facts["state"], facts["groups"], facts["recipe"]["kind"]) == ("done", 10, "table")
    assert json.loads((run / "line.json").read_text()) == pytest.approx([2, 1], abs=1e-6)
    with pytest.raises(BadInput, match="holds a run already"):
        train_table(recipe(), tmp_path, run, 7, ignore)
    with pytest.raises(BadInput, match="another seed"):
        train_table(recipe(), tmp_path, run, 8, ignore, resume=True)
    train_table(recipe(), tmp_path, run, 7, ignore, resume=True)
    (shown,) = list_runs(home)[1]
    assert (shown.state, shown.progress, shown.folds, shown.reader) == (RunState.DONE, 1.0, 2, "toy")
    detail = run_detail(home, shown.id)
    assert [one.metrics["error"] < 1e-6 for one in detail.validation] == [True, True]
    assert detail.facts["recipe"]["kind"] == "table"


def test_a_patient_in_two_folds_is_found_and_the_budget_holds(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime):
        train_table(recipe(minutes=1e-9), tmp_path, tmp_path / "short", 1, ignore)
    stopped = json.loads((tmp_path / "short" / "run.json").read_text())
    assert stopped["state"] == "stopped"
    assert "time budget" in stopped["reason"]
    (tmp_path / "leak").touch()
    with pytest.raises(LeakFound):
        train_table(recipe(), tmp_path, tmp_path / "leaky", 1, ignore)


def test_a_recipe_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("kind: table\nreader: toy\n", "utf-8")
    with pytest.raises(BadInput, match="fit: Field required"):
        read_recipe(path)
