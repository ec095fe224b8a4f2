"""A training run of a reader that learns of a table: a model a fold that never sees it, one of all, then ``finish``.

The folder, its lock, ``run.json``, ``log.jsonl``, the seed and the leak check are those of a network's run. Each fit
takes seconds, so that nothing is kept on the way: with ``resume`` a killed run is made anew, and ends the same.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.clock import monotonic, utc_now
from readingroom.core.durable import write_durably
from readingroom.core.errors import ReadingRoomError
from readingroom.learning.engine.recipe import TableRecipe, resolve
from readingroom.learning.engine.run import OutOfTime, as_json, claim, facts_of, held, tell
from readingroom.readers.training import Report, TrainingData


@dataclass(eq=False)
class TableRun:
    """``models``: one a fold that it never saw; ``whole``: of all. ``finish`` functions get this."""

    recipe: TableRecipe
    seed: int
    folder: Path
    data: TrainingData
    report: Report
    models: dict[int, Any] = field(default_factory=dict)
    whole: Any = None
    facts: dict[str, Any] = field(default_factory=dict)


def train_table(
    recipe: TableRecipe, data: Path, out: Path, seed: int, report: Report, resume: bool = False
) -> dict[str, Any]:
    """Train by ``recipe`` on the folder ``data`` into ``out`` and return what ``finish`` returns, with the run's facts.

    Raises BadInput (data, recipe, a folder that holds another run), LeakFound, OutOfTime.
    """
    out.mkdir(parents=True, exist_ok=True)
    with held(out):
        started = monotonic()
        report("examples", 0.0)
        made: TrainingData = resolve(recipe.examples)(
            data, seed, recipe.threads, lambda step, done: report(step, 0.1 * done)
        )
        made.check(recipe.folds)
        facts = facts_of(recipe, made, data, seed, "cpu")
        claim(out, facts, resume)
        run = TableRun(recipe, seed, out, made, report, facts=facts)
        try:
            return _trained(run, started)
        except ReadingRoomError as error:
            write_durably(out / "run.json", as_json(facts | {"state": "stopped", "reason": str(error)}))
            raise


def _trained(run: TableRun, started: float) -> dict[str, Any]:
    recipe, arrays, fold = run.recipe, run.data.arrays, run.data.fold
    fit, predict, validate = (resolve(name) for name in (recipe.fit, recipe.predict, recipe.validate_by))
    for k in range(recipe.folds):
        run.report(f"fold {k + 1} of {recipe.folds}", 0.1 + 0.7 * k / recipe.folds)
        seconds = monotonic() - started
        if seconds > recipe.minutes * 60:
            raise OutOfTime(f"The time budget of {recipe.minutes:g} minutes is used up.", "Give a larger --minutes.")
        run.models[k] = fit({name: a[fold != k] for name, a in arrays.items()}, _seed(run, k))
        hidden = {name: a[fold == k] for name, a in arrays.items()}
        judged = validate(predict(run.models[k], hidden), hidden)
        line = {"fold": k, "validation": judged, "n": int((fold == k).sum())}
        tell(run.folder, line | {"seconds": round(monotonic() - started, 1)})
    run.report("all folds", 0.8)
    run.whole = fit(arrays, _seed(run, recipe.folds))
    told = run.report
    run.report = lambda step, done: told(step, 0.9 + 0.1 * done)
    log: dict[str, Any] = resolve(recipe.finish)(run)
    run.facts |= {"state": "done", "seconds": round(monotonic() - started, 1), "ended_at": utc_now().isoformat()}
    write_durably(run.folder / "run.json", as_json(run.facts))
    return log | {"seconds": run.facts["seconds"]}


def _seed(run: TableRun, fold: int) -> int:
    return int(np.random.SeedSequence([run.seed, fold + 1, 0]).generate_state(1)[0])
