"""Training runs as people look at them: which there are, how far each is, its curves and its trials.

The runs of a house are kept in ``<home>/runs``, a folder each as ``readingroom train --out`` writes it. A run is known
by an opaque id, made from the name of its folder: no name from outside ever becomes a path.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from readingroom.core.clock import utc_now
from readingroom.core.errors import NotFound
from readingroom.learning.engine.run import LOCK
from readingroom.learning.engine.search import ranked
from readingroom.learning.run_files import LogLine, RecipeFacts, RunFile, Trial, Unreadable, read_lines, read_run, words

FOLDER = "runs"
QUIET_SECONDS = 120.0
"""A run that no process of this machine holds and whose log has not grown for so long is interrupted."""
LISTED = 200
POINTS = 200
"""Most points of a curve."""
TAIL_BYTES = 64 << 10
"""Of the log, what the list reads: its last line says how far the run is."""


class RunState(StrEnum):
    PREPARING = "preparing"
    """Before the first step: settings are searched, or examples made."""
    TRAINING = "training"
    DONE = "done"
    STOPPED = "stopped"
    """By the engine itself, which says why: the time budget is used up, a loss is no number any more."""
    INTERRUPTED = "interrupted"
    UNREADABLE = "unreadable"


GONE = "Its process is gone; at most the last seconds are lost. Go on with --resume."


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class RunSummary(_Told):
    """A line of the list. Seconds are those of training; ``progress`` 0..1 counts steps over all folds."""

    id: str
    name: str
    state: RunState
    reason: str = ""
    reader: str = ""
    version: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float = 0.0
    budget_seconds: float | None = None
    left_seconds: float | None = None
    progress: float = 0.0
    fold: int | None = None
    """From 0; the network in training is the one that never sees this fold."""
    folds: int | None = None
    step: int | None = None
    steps: int | None = None


class Curve(_Told):
    """A loss (``name`` ``loss``) or a part of it over the steps of one network; each point the mean of a stretch."""

    fold: int
    name: str
    steps: list[float]
    values: list[float]


class Judged(_Told):
    """How the network of a fold did on that fold, which it never saw."""

    fold: int
    n: int | None
    metrics: dict[str, float]


class TrialTold(Trial):
    chosen: bool = False


class RunDetail(RunSummary):
    facts: dict[str, Any] = {}
    curves: list[Curve] = []
    validation: list[Judged] = []
    select: str = ""
    direction: str = ""
    trials: list[TrialTold] = []
    notes: list[str] = []
    """What of the files could not be read."""


def list_runs(home: Path) -> tuple[int, list[RunSummary]]:
    """Return how many runs there are, and the latest ``LISTED``, latest first."""
    found = sorted(_folders(home), key=lambda folder: (-_touched(folder), folder.name))
    return len(found), [_summary(folder) for folder in found[:LISTED]]


def run_detail(home: Path, run_id: str) -> RunDetail:
    """Return one run. Raises NotFound."""
    folder = next((one for one in _folders(home) if run_id_of(one.name) == run_id), None)
    if folder is None:
        raise NotFound("There is no such run.")
    summary = _summary(folder)
    if summary.state is RunState.UNREADABLE:
        return RunDetail(**summary.model_dump())
    try:
        facts: RunFile | None = read_run(folder)
    except FileNotFoundError:
        facts = None
    lines, notes = _lines(folder / "log.jsonl", LogLine)
    trials, more = _lines(_search(folder), Trial)
    recipe = facts.recipe if facts else None
    return RunDetail(
        **summary.model_dump(),
        facts=_facts(facts) if facts else {},
        curves=curves(lines),
        validation=_judged(lines),
        select=recipe.select if recipe else "",
        direction=recipe.direction if recipe else "",
        trials=sorted_trials(trials, recipe),
        notes=[*notes, *more],
    )


def run_id_of(name: str) -> str:
    """Return the opaque id of the run in the folder of this name."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def curves(lines: Iterable[LogLine]) -> list[Curve]:
    """Return loss and parts by fold. A step told twice, before and after a kill, counts as told last."""
    told: dict[tuple[int, str], dict[int, float]] = {}
    for line in lines:
        if line.step is None or line.loss is None:
            continue
        for name, value in {"loss": line.loss, **line.parts}.items():
            told.setdefault((line.fold, name), {})[line.step] = value
    return [
        Curve(fold=fold, name=name, steps=thinned(steps := sorted(of)), values=thinned([of[s] for s in steps]))
        for (fold, name), of in sorted(told.items())
    ]


def thinned(values: Sequence[float]) -> list[float]:
    """Return at most ``POINTS`` numbers: the means of stretches of equal length (the last may be shorter)."""
    length = -(-len(values) // POINTS) or 1
    stretches = (values[n : n + length] for n in range(0, len(values), length))
    return [float(f"{sum(one) / len(one):.6g}") for one in stretches]


def sorted_trials(trials: Sequence[Trial], recipe: RecipeFacts | None) -> list[TrialTold]:
    """Return the best first and the failed last; the chosen one is the best, where the run has its settings."""
    scored = ranked([one.model_dump() for one in trials], recipe.direction if recipe else "maximise")
    failed = [one.model_dump() for one in trials if one.score is None]
    told = [TrialTold.model_validate(one) for one in (*scored, *failed)]
    if recipe is None or not scored:
        return told
    used = {**recipe.optimiser, **recipe.network.arguments}
    chosen = all(used.get(name) == value for name, value in told[0].settings.items())
    return [told[0].model_copy(update={"chosen": chosen}), *told[1:]]


def _folders(home: Path) -> list[Path]:
    try:
        with os.scandir(home / FOLDER) as entries:
            # Files beside the runs are nobody's; a link is listed, and not followed.
            return [Path(e.path) for e in entries if e.is_symlink() or e.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _touched(folder: Path) -> float:
    """When anything was last told of a run, in seconds since 1970."""
    times = [0.0]
    search = folder / "search"
    for path in (folder, folder / "log.jsonl", folder / "run.json", search, *_trial_logs(search)):
        try:
            times.append(path.lstat().st_mtime)
        except OSError:
            continue
    return max(times)


def _trial_logs(search: Path) -> list[Path]:
    return [] if search.is_symlink() else [path / "log.jsonl" for path in search.glob("trial-*")]


def _search(folder: Path) -> Path:
    search = folder / "search"
    return (folder if search.is_symlink() else search) / "trials.jsonl"


def _busy(folder: Path) -> bool:
    """Whether a process of this machine holds the run, or something was told of it a moment ago."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        held = False
    else:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            held = False
        except OSError:
            held = True
        finally:
            os.close(handle)  # which lets go of it
    return held or utc_now().timestamp() - _touched(folder) < QUIET_SECONDS


def _summary(folder: Path) -> RunSummary:
    name, run_id = words(folder.name)[:80], run_id_of(folder.name)
    try:
        if folder.is_symlink():
            raise Unreadable("It is a link, which is not followed.")
        return _progress(folder, RunSummary(id=run_id, name=name, state=RunState.PREPARING), read_run(folder))
    except FileNotFoundError:
        return _before(folder, RunSummary(id=run_id, name=name, state=RunState.PREPARING))
    except Unreadable as error:
        return RunSummary(id=run_id, name=name, state=RunState.UNREADABLE, reason=str(error))


def _before(folder: Path, summary: RunSummary) -> RunSummary:
    """A folder without ``run.json``: a run that has not begun, or none at all."""
    if _busy(folder):
        return summary
    if (folder / LOCK).exists() or _search(folder).exists():
        return summary.model_copy(update={"state": RunState.INTERRUPTED, "reason": GONE})
    return summary.model_copy(update={"state": RunState.UNREADABLE, "reason": "It holds no run.json."})


def _progress(folder: Path, summary: RunSummary, facts: RunFile) -> RunSummary:
    lines, _ = read_lines(folder / "log.jsonl", LogLine, TAIL_BYTES)
    last = lines[-1] if lines else None
    recipe, budget = facts.recipe, facts.recipe.minutes * 60
    done, seconds, step = 0.0, 0.0, None
    if last is not None:
        step = recipe.steps if last.step is None else min(last.step, recipe.steps)
        done, seconds = min(1.0, (last.fold + step / recipe.steps) / recipe.folds), last.seconds
    state = RunState(facts.state)
    if state is RunState.TRAINING and not _busy(folder):
        state = RunState.INTERRUPTED
    ended = state is RunState.DONE
    return summary.model_copy(
        update={
            "state": state,
            "reason": GONE if state is RunState.INTERRUPTED else facts.reason,
            "reader": facts.reader,
            "version": facts.reader_version,
            "started_at": facts.started_at,
            "ended_at": facts.ended_at,
            "seconds": facts.seconds if ended and facts.seconds is not None else seconds,
            "budget_seconds": budget,
            "left_seconds": None if ended else max(0.0, round(budget - seconds, 1)),
            "progress": 1.0 if ended else round(done, 4),
            "fold": last.fold if last and not ended else None,
            "folds": recipe.folds,
            "step": step if not ended else None,
            "steps": recipe.steps,
        }
    )


def _lines(path: Path, model: type[Any]) -> tuple[list[Any], list[str]]:
    try:
        lines, wrong = read_lines(path, model)
    except Unreadable as error:
        return [], [str(error)]
    return lines, [f"{wrong} lines of {path.name} cannot be read and are left out."] if wrong else []


def _judged(lines: Iterable[LogLine]) -> list[Judged]:
    last = {line.fold: line for line in lines if line.validation is not None}
    return [Judged(fold=fold, n=one.n, metrics=one.validation or {}) for fold, one in sorted(last.items())]


def _facts(facts: RunFile) -> dict[str, Any]:
    left_out = {"reader", "reader_version", "state", "reason", "started_at", "ended_at", "seconds"}
    return facts.model_dump(mode="json", exclude=left_out)
