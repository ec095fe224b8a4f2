"""What passes between a reader and the training engine: the examples it hands over, the finished run it gets back.

The engine (``learning.engine``) stands above the readers; what they share is here, so that a reader needs nothing of
it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.leaks import check_no_leak

if TYPE_CHECKING:
    import torch

EVERY = -1
"""The fold of examples that every network sees and none is judged on: a source that is only ever trained on."""
Report = Callable[[str, float], None]
"""``report(step, fraction done 0..1)``."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """``n`` examples. ``arrays``: by name, each ``(n, ...)``, the image and whatever augmentation and loss want;
    ``group`` ``(n,)``: whose each is (a patient, or what stands for one); ``fold`` ``(n,)``: 0 .. folds-1, the
    network of that fold does not see it, or EVERY; ``draw`` ``(n,)``: how often it is drawn, relative to the others.
    ``kept``: what ``finish`` wants besides."""

    arrays: dict[str, np.ndarray]
    group: np.ndarray
    fold: np.ndarray
    draw: np.ndarray
    kept: Any = field(default=None)

    def __len__(self) -> int:
        return len(self.group)

    def check(self, folds: int) -> None:
        """Raise BadInput where lengths differ, a fold is empty or unknown, and LeakFound where a group is in two
        folds."""
        lengths = {name: len(a) for name, a in self.arrays.items()}
        wrong = [name for name, length in lengths.items() if length != len(self)]
        if wrong or len(self.fold) != len(self) or len(self.draw) != len(self):
            raise BadInput(f"The examples are not all of one length: {', '.join(wrong) or 'fold, draw'}.")
        if not len(self):
            raise BadInput("There is nothing to train on.")
        missing = sorted(set(range(folds)) - set(self.fold.tolist()))
        if missing or self.fold.min() < EVERY or self.fold.max() >= folds:
            raise BadInput(f"The examples do not fill {folds} folds: none in fold {missing or 'beyond'}.")
        if not (np.isfinite(self.draw).all() and (self.draw >= 0).all() and self.draw.sum() > 0):
            raise BadInput("How often examples are drawn must be numbers of 0 and more.")
        parts = {f"fold {k}": self.group[self.fold == k].tolist() for k in range(folds)}
        check_no_leak(parts | {"every fold": self.group[self.fold == EVERY].tolist()})

    @property
    def sha256(self) -> str:
        """A hash of everything that is learnt from: a run is resumed only on the same examples."""
        digest = hashlib.sha256()
        for name in sorted(self.arrays):
            digest.update(f"{name} {self.arrays[name].dtype.str} {self.arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(self.arrays[name]).tobytes())
        digest.update("\n".join(map(str, self.group)).encode())
        digest.update(np.ascontiguousarray(self.fold, np.int64).tobytes())
        digest.update(np.ascontiguousarray(self.draw, np.float64).tobytes())
        return digest.hexdigest()


class TrainedRun(Protocol):
    """What a recipe's ``finish`` gets: ``networks``, one a fold that it never saw, and ``together``, all as one, in
    evaluation mode on the CPU; ``folder`` holds ``network.onnx`` and takes what else the reader writes; ``facts`` say
    how it was made."""

    seed: int
    folder: Path
    data: TrainingData
    networks: "Mapping[int, torch.nn.Module]"
    together: "torch.nn.Module | None"
    outputs: tuple[str, ...]
    facts: dict[str, Any]
    report: Report


class TrainedTable(Protocol):
    """What a table recipe's ``finish`` gets: ``models``, what ``fit`` returned without each fold, and ``whole``, of
    all; ``folder`` takes what the reader writes."""

    seed: int
    folder: Path
    data: TrainingData
    models: Mapping[int, Any]
    whole: Any
    facts: dict[str, Any]
    report: Report
