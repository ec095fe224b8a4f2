"""A recipe that trains in a second: is the bright square in the upper or the lower half? For the engine's tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.learning.engine.recipe import Recipe
from readingroom.readers.training import Report, TrainedRun, TrainingData

PATIENTS = 40


def recipe(**changes: Any) -> Recipe:
    whole = {
        "reader": "toy", "version": "1.0.0", "examples": "learning_support:examples",
        "network": {
            "factory": "learning_support:network", "arguments": {"width": 4}, "together": "learning_support:together",
            "outputs": ["upper"],
        },
        "augment": "learning_support:augment", "side_axis": None, "loss": "learning_support:loss",
        "validate_by": "learning_support:validate", "select": "accuracy", "finish": "learning_support:finish",
        "folds": 2, "draws": 640, "epochs": 4, "batch": 32, "optimiser": {"rate": 0.02}, "threads": 1, "minutes": 5,
        "search": {"space": {"rate": {"low": 0.001, "high": 0.1, "log": True}, "width": {"among": [2, 4]}}},
    }  # fmt: skip
    return Recipe.model_validate(whole | changes)


def examples(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    random = np.random.default_rng(3)
    upper = random.integers(0, 2, 4 * PATIENTS)
    image = random.normal(size=(4 * PATIENTS, 1, 8, 8)).astype(np.float32)
    for n, up in enumerate(upper):
        row, column = random.integers(0, 3) + (0 if up else 4), random.integers(0, 6)
        image[n, 0, row : row + 2, column : column + 2] += 4
    patient = np.arange(4 * PATIENTS) // 4
    fold = patient % 2
    if (data / "leak").exists():
        fold = np.arange(4 * PATIENTS) % 2
    group = np.array([f"patient {n}" for n in patient])
    return TrainingData({"image": image, "upper": upper.astype(np.float32)}, group, fold, np.ones(len(fold)))


def network(width: int) -> Any:
    from torch import nn

    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveMaxPool2d((2, 1)),
                nn.Flatten(),
                nn.Linear(2 * width, 1),
            )  # fmt: skip

        def forward(self, image: Any) -> Any:
            return (self.body(image)[:, 0],)

    return Toy()


def together(networks: list[Any]) -> Any:
    import torch
    from torch import nn

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all = nn.ModuleList(networks)

        def forward(self, image: Any) -> Any:
            return (torch.stack([one(image)[0] for one in self.all]).mean(0),)

    return Mean()


def augment(arrays: dict[str, np.ndarray], random: np.random.Generator | None) -> dict[str, np.ndarray]:
    if random is None or random.random() < 0.5:
        return arrays
    return arrays | {"image": np.ascontiguousarray(arrays["image"][..., ::-1])}


augment.flips = (2,)  # type: ignore[attr-defined]


def loss(outputs: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    from torch.nn import functional

    return {"upper": functional.binary_cross_entropy_with_logits(outputs["upper"], batch["upper"])}


def validate(outputs: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    return {"accuracy": float(((outputs["upper"] > 0) == (arrays["upper"] > 0)).mean())}


def finish(run: TrainedRun) -> dict[str, Any]:
    log = {"out_of_fold": {"networks": len(run.networks)}}
    (run.folder / "training.json").write_text(json.dumps(log))
    return log


def slow_augment(arrays: dict[str, np.ndarray], random: np.random.Generator | None) -> dict[str, np.ndarray]:
    """So that a kill finds the run in the middle."""
    import time

    time.sleep(0.02)
    return augment(arrays, random)
