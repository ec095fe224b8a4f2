"""Search settings by trial: each drawn at random from the recipe's space, trained without one fold and judged on it;
all are kept.

Random search (Bergstra and Bengio 2012, JMLR 13:281) is enough for the handful of trials that fit on two cores, and a
trial never depends on the others: a search that was killed goes on, and its trials are the same. ``trials.jsonl`` has
a line a trial.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.learning.engine.recipe import Choice, Recipe, resolve
from readingroom.learning.engine.run import Run, train_one
from readingroom.readers.training import Report


def search(recipe: Recipe, data: Path, out: Path, seed: int, trials: int, report: Report) -> Recipe:
    """Return the recipe with the best trial's settings. Raises BadInput where the recipe names no search space."""
    plan = recipe.search
    if plan is None:
        raise BadInput(
            f"The recipe of {recipe.reader} names nothing to search.", "Add 'search' to it, or leave --search out."
        )
    out.mkdir(parents=True, exist_ok=True)
    path = out / "trials.jsonl"
    done = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    made = resolve(recipe.examples)(data, seed, recipe.threads, lambda step, part: report(step, 0.1 * part))
    made.check(recipe.folds)
    for number in range(len(done), trials):
        random = np.random.default_rng([seed, number])
        # The first trial is the recipe as it is: a search can't end below it without showing so.
        settings = {name: _draw(choice, random) for name, choice in sorted(plan.space.items())} if number else {}
        tried = recipe.with_settings(settings).model_copy(
            update={"epochs": max(1, round(recipe.epochs * plan.share_of_epochs))}
        )  # fmt: skip
        folder = out / f"trial-{number}"
        folder.mkdir(exist_ok=True)
        started = monotonic()
        low = 0.1 + 0.9 * number / trials

        def told(step: str, part: float, low: float = low, number: int = number) -> None:
            report(f"trial {number + 1} of {trials}, {step}", low + 0.9 * part / trials)

        line: dict[str, Any] = {"trial": number, "settings": settings, "seed": seed, "epochs": tried.epochs}
        try:
            judged = train_one(Run(tried, seed, folder, made, told), plan.fold)
            line |= {"state": "done", "validation": judged, "score": judged[recipe.select]}
        except BadInput as error:  # a setting that diverges is an answer too
            line |= {"state": "failed", "reason": str(error), "score": None}
        line["seconds"] = round(monotonic() - started, 1)
        done.append(line)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    best = best_of(done, recipe)
    return recipe.with_settings(best["settings"])


def best_of(trials: list[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """Return the best trial. Raises BadInput where none succeeded."""
    scored = ranked(trials, recipe.direction)
    if not scored:
        raise BadInput("No trial of the search succeeded.", "Look at trials.jsonl for the reasons.")
    return scored[0]


def ranked(trials: list[dict[str, Any]], direction: str) -> list[dict[str, Any]]:
    """Return the trials that have a score, the best first; of two alike the earlier."""
    sign = 1 if direction == "maximise" else -1
    scored = [t for t in trials if t.get("score") is not None]
    return sorted(scored, key=lambda t: (-sign * t["score"], t["trial"]))


def _draw(choice: Choice, random: np.random.Generator) -> float | int:
    if choice.among:
        return choice.among[int(random.integers(len(choice.among)))]
    assert choice.low is not None, "checked when the recipe was read"
    assert choice.high is not None
    if choice.log:
        return float(np.exp(random.uniform(np.log(choice.low), np.log(choice.high))))
    return float(random.uniform(choice.low, choice.high))
