"""A training run: a folder that holds all that made the weights, and goes on from where it was after any kill.

``run.json`` says what is trained and on what (recipe, seed, hashes, versions, machine), ``log.jsonl`` has a line every
few steps, ``fold-K.state`` the state of a network in training and ``fold-K.network`` a finished one; ``run.lock`` is
held by the process that trains. Files that matter are written beside and renamed. What happens in a step depends only
on seed, fold and number of the step, never on what was before a kill: on a CPU with the same number of threads a
resumed run ends bit for bit like one that was left alone.
"""

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from readingroom.core.clock import monotonic, utc_now
from readingroom.core.durable import write_durably
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.learning.engine import at_once
from readingroom.learning.engine.export import at_a_time, export
from readingroom.learning.engine.recipe import Recipe, TableRecipe, as_recipe, resolve
from readingroom.readers.training import Report, TrainingData

if TYPE_CHECKING:
    import torch

TOLD_EVERY = 20
"""Steps between two lines of the log."""
KEPT_EVERY_SECONDS = 20.0
LOCK = "run.lock"
HOLD_TRIES = 10
PACKAGES = ("torch", "monai", "numpy", "onnx", "onnxruntime", "scipy", "scikit-learn")


class OutOfTime(ReadingRoomError):
    """The time budget is used up; everything so far is kept and the run can go on."""

    code = "out-of-time"


@dataclass(eq=False)
class Run:
    """``networks``: a trained module a fold, in evaluation mode on the CPU; ``together``: all of them as one;
    ``folder`` holds ``network.onnx``. ``finish`` functions get this."""

    recipe: Recipe
    seed: int
    folder: Path
    data: TrainingData
    report: Report
    device: str = "cpu"
    networks: dict[int, "torch.nn.Module"] = field(default_factory=dict)
    together: "torch.nn.Module | None" = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.recipe.network.outputs


def train(recipe: Recipe, data: Path, out: Path, seed: int, report: Report, resume: bool = False) -> dict[str, Any]:
    """Train by ``recipe`` on the folder ``data`` into ``out`` and return what ``finish`` returns, with the run's facts.

    Raises BadInput (data, recipe, a folder that holds another run), LeakFound, OutOfTime; needs the extra ``train``.
    """
    _torch()
    out.mkdir(parents=True, exist_ok=True)
    with held(out):
        return _train(recipe, data, out, seed, report, resume)


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the folder for this process: the system lets go of it whatever ends the process, and others can tell.

    Raises BadInput where another process trains into it.
    """
    with (out / LOCK).open("a") as file:
        for left in reversed(range(HOLD_TRIES)):  # whoever looks whether it is held holds it for a moment
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise BadInput(f"Another process trains into {out.name}.", "Give another folder.") from None
                time.sleep(0.1)
        yield


def _train(recipe: Recipe, data: Path, out: Path, seed: int, report: Report, resume: bool) -> dict[str, Any]:
    started = monotonic()
    processes = max(1, min(recipe.threads, os.cpu_count() or 1))
    report("examples", 0.0)
    made: TrainingData = resolve(recipe.examples)(data, seed, processes, _within(report, 0.0, 0.15))
    made.check(recipe.folds)
    facts = facts_of(recipe, made, data, seed, _device())
    claim(out, facts, resume)
    run = Run(recipe, seed, out, made, report, _device(), facts=facts)
    try:
        return _trained(run, started - _spent(out))
    except ReadingRoomError as error:
        write_durably(out / "run.json", as_json(facts | {"state": "stopped", "reason": str(error)}))
        raise


def _trained(run: Run, started: float) -> dict[str, Any]:
    """Train the networks of all folds, export them as one and finish."""
    recipe, report, facts = run.recipe, run.report, run.facts
    if recipe.at_once > 1 and run.device == "cpu":
        report(f"{recipe.folds} networks, {recipe.at_once} at one time", 0.15)
        alone = replace(run, data=replace(run.data, kept=None), report=_silent)
        at_once.each(partial(_apart, alone, started), range(recipe.folds), recipe.at_once)
    for fold in range(recipe.folds):  # those that were trained at one time are in the folder by now
        told = _within(report, 0.15 + 0.65 * fold / recipe.folds, 0.15 + 0.65 * (fold + 1) / recipe.folds)
        run.networks[fold] = _network(run, fold, started, told)
    report("export", 0.8)
    run.together = resolve(recipe.network.together)([run.networks[f] for f in sorted(run.networks)]).eval()
    facts |= export(run)
    write_durably(run.folder / "run.json", as_json(facts))
    run.report = _within(report, 0.82, 1.0)
    log: dict[str, Any] = resolve(recipe.finish)(run)
    facts["files"] = _written(run.folder)
    facts |= {"state": "done", "seconds": round(monotonic() - started, 1), "ended_at": utc_now().isoformat()}
    write_durably(run.folder / "run.json", as_json(facts))
    return log | {"seconds": facts["seconds"]}


def _apart(run: Run, started: float, fold: int, still: Callable[[], None]) -> None:
    """Train one network in a process of its own: it stays in the folder."""
    _network(run, fold, started, _silent, still)


def _silent(step: str, done: float) -> None:
    """What a process of its own says is in the log only."""


def _within(report: Report, low: float, high: float) -> Report:
    """Report a part of the work as the stretch of the whole that it is."""
    return lambda step, done: report(step, low + (high - low) * done)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise BadInput("Training needs PyTorch, which isn't installed here.", "Run `make setup-train` once.") from None
    return torch


def _device() -> str:
    return "cuda" if _torch().cuda.is_available() else "cpu"


def facts_of(recipe: Recipe | TableRecipe, made: TrainingData, data: Path, seed: int, device: str) -> dict[str, Any]:
    """Return what ``run.json`` says of a run that begins."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "reader": recipe.reader,
        "reader_version": recipe.version,
        "recipe": recipe.model_dump(mode="json"),
        "recipe_sha256": recipe.sha256,
        "data": data.resolve().name,
        "data_sha256": made.sha256,
        "examples": len(made),
        "groups": len(np.unique(made.group)),
        "seed": seed,
        "threads": recipe.threads,
        "device": device,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "versions": versions,
        "commit": _commit(),
        "started_at": utc_now().isoformat(),
        "state": "training",
    }


def _commit() -> str:
    """The commit of the checkout this code runs from, with ``+`` where it was changed; empty where it is none."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if head.returncode else head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def claim(out: Path, facts: dict[str, Any], resume: bool) -> None:
    """Make ``out`` this run's folder; go on with the run that is there only if it is the same one, with the budget
    that is given now."""
    path = out / "run.json"
    if not path.exists():
        write_durably(path, as_json(facts))
        return
    there = json.loads(path.read_text("utf-8"))
    if not resume:
        raise BadInput(f"{out.name} holds a run already.", "Give another folder, or --resume to go on with that run.")
    try:
        # By the hash as it is made now: an earlier version of this engine may have hashed other fields.
        there["recipe_sha256"] = as_recipe(there["recipe"]).sha256
    except (KeyError, ValidationError):
        there["recipe_sha256"] = ""
    for name, words in (
        ("recipe_sha256", "recipe"),
        ("data_sha256", "examples"),
        ("seed", "seed"),
        ("threads", "threads"),
    ):
        if there.get(name) != facts[name]:
            raise BadInput(f"The run in {out.name} was begun with another {words}.", "Give another folder.")
    facts["started_at"] = there.get("started_at", facts["started_at"])
    # What was trained before the stop was trained by the code of then.
    facts["earlier_commits"] = [*there.get("earlier_commits", []), there.get("commit", "")]
    write_durably(path, as_json(facts))


def _spent(out: Path) -> float:
    """Seconds of training before this start, from the log."""
    path = out / "log.jsonl"
    if not path.exists():
        return 0.0
    seconds = 0.0
    for line in path.read_text("utf-8").splitlines():
        try:
            seconds = max(seconds, float(json.loads(line).get("seconds", 0.0)))
        except ValueError:  # the line a kill cut short
            continue
    return seconds


def train_one(run: Run, left_out: int) -> dict[str, float]:
    """Train the network that never sees fold ``left_out`` and return how it does there: one trial of a search."""
    _network(run, left_out, monotonic(), run.report)
    lines = (run.folder / "log.jsonl").read_text("utf-8").splitlines()
    judged: dict[str, float] = json.loads(lines[-1])["validation"]
    return judged


def _network(
    run: Run, left_out: int, started: float, told: Report, still: Callable[[], None] = lambda: None
) -> "torch.nn.Module":
    """Return the network that never saw fold ``left_out``: the finished one, or trained on from its last state.

    ``still`` is called at every step and may raise: the state kept last stays."""
    torch, recipe = _torch(), run.recipe
    done, state = run.folder / f"fold-{left_out}.network", run.folder / f"fold-{left_out}.state"
    torch.manual_seed(_mixed(run.seed, left_out, -1))
    network = resolve(recipe.network.factory)(**recipe.network.arguments)
    if done.exists():
        network.load_state_dict(torch.load(done, weights_only=True))
        return network.eval()
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    augment, loss = resolve(recipe.augment), resolve(recipe.loss)
    if recipe.side_axis is not None and recipe.side_axis in getattr(augment, "flips", ()):
        raise BadInput(f"{recipe.augment} flips axis {recipe.side_axis}, which would turn left into right.")
    # Channels last halves the time of convolutions on a CPU.
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    layout = layouts.get(next(iter(network.parameters())).ndim, torch.contiguous_format)
    network = network.to(run.device, memory_format=layout).train()
    settings = recipe.optimiser
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=recipe.steps, pct_start=settings.warm_up
    )
    step = 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        step = kept["step"]
    seen = np.flatnonzero(run.data.fold != left_out)
    chance = run.data.draw[seen] / run.data.draw[seen].sum()
    last = monotonic()

    def keep() -> None:
        whole = {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        _save(state, whole | {"step": step})

    while step < recipe.steps:
        random = np.random.default_rng(_mixed(run.seed, left_out, step))
        torch.manual_seed(_mixed(run.seed, left_out, step))
        picked = seen[random.choice(len(seen), recipe.batch, p=chance)]
        arrays = augment({name: a[picked] for name, a in run.data.arrays.items()}, random)
        batch = {name: torch.from_numpy(np.ascontiguousarray(a)).to(run.device) for name, a in arrays.items()}
        image = batch[recipe.network.input].contiguous(memory_format=layout)
        parts = loss(dict(zip(recipe.network.outputs, network(image), strict=True)), batch)
        total = sum(parts.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        schedule.step()
        step += 1
        still()
        seconds = monotonic() - started
        if step % TOLD_EVERY == 0 or step == recipe.steps:
            if not bool(torch.isfinite(total)):
                raise BadInput(f"The loss is no number any more at step {step}.", "Lower the rate in the recipe.")
            tell(run.folder, {
                "fold": left_out, "step": step, "of": recipe.steps, "loss": round(total.item(), 5),
                "parts": {name: round(value.item(), 5) for name, value in parts.items()}, "seconds": round(seconds, 1),
            })  # fmt: skip
            told(f"fold {left_out + 1} of {recipe.folds}, step {step} of {recipe.steps}", step / recipe.steps)
        if monotonic() - last > KEPT_EVERY_SECONDS and step < recipe.steps:
            keep()
            last = monotonic()
        if seconds > recipe.minutes * 60 and step < recipe.steps:
            keep()
            raise OutOfTime(
                f"The time budget of {recipe.minutes:g} minutes is used up at step {step} of fold {left_out + 1}.",
                "Everything so far is kept: go on with --resume and a larger --minutes.",
            )
    network = network.to("cpu", memory_format=torch.contiguous_format).eval()
    hidden = np.flatnonzero(run.data.fold == left_out)
    arrays = {name: a[hidden] for name, a in run.data.arrays.items()}
    judged = resolve(recipe.validate_by)(predict(network, recipe, arrays), arrays)
    line = {"fold": left_out, "validation": judged, "n": len(hidden), "seconds": round(monotonic() - started, 1)}
    tell(run.folder, line)
    _save(done, network.state_dict())
    state.unlink(missing_ok=True)
    return network


def predict(network: "torch.nn.Module", recipe: Recipe, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return outputs by name for whole arrays, batch by batch, without augmentation (``augment(arrays, None)``)."""
    torch = _torch()
    batch = at_a_time(arrays[recipe.network.input][0])
    augment = resolve(recipe.augment)
    made: list[tuple[np.ndarray, ...]] = []
    length = len(next(iter(arrays.values())))
    with torch.no_grad():
        for n in range(0, length, batch):
            plain = augment({name: a[n : n + batch] for name, a in arrays.items()}, None)
            image = torch.from_numpy(np.ascontiguousarray(plain[recipe.network.input]))
            made.append(tuple(o.numpy() for o in network(image)))
    return {name: np.concatenate([m[i] for m in made]) for i, name in enumerate(recipe.network.outputs)}


def _mixed(seed: int, fold: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, fold + 1, step + 1]).generate_state(1)[0])


def _save(path: Path, whole: dict[str, Any]) -> None:
    import io

    buffer = io.BytesIO()
    _torch().save(whole, buffer)
    write_durably(path, buffer.getvalue())


def tell(folder: Path, line: dict[str, Any]) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _written(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that came of the run: ``run.json`` tells what they are, wherever they go together."""
    files = (*folder.glob("*.onnx"), *folder.glob("*.json"))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files) if p.name != "run.json"}


def as_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
