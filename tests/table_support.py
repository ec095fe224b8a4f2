"""A table recipe that learns a straight line at once. For the engine's tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.learning.engine.recipe import TableRecipe
from readingroom.readers.training import Report, TrainedTable, TrainingData

seen: list[set[int]] = []


def examples(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    x = np.arange(30.0)
    group = np.array([f"patient {n // 3}" for n in range(30)])
    fold = np.arange(30) % 2 if (data / "leak").exists() else np.arange(30) // 3 % 2
    return TrainingData({"x": x, "y": 2 * x + 1}, group, fold, np.ones(30))


def fit(arrays: dict[str, np.ndarray], seed: int) -> np.ndarray:
    seen.append(set(arrays["x"].astype(int).tolist()))
    return np.polyfit(arrays["x"], arrays["y"], 1) + seed % 2 * 1e-9


def predict(model: np.ndarray, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": np.polyval(model, arrays["x"])}


def validate(outputs: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    return {"error": float(np.abs(outputs["y"] - arrays["y"]).max())}


def finish(run: TrainedTable) -> dict[str, Any]:
    (run.folder / "line.json").write_text(json.dumps(run.whole.tolist()))
    return {"out_of_fold": {"folds": len(run.models)}}


def recipe(**changes: Any) -> TableRecipe:
    named = {n: f"table_support:{n}" for n in ("examples", "fit", "predict", "finish")}
    whole = {
        "kind": "table", "reader": "toy", "version": "1", "validate_by": "table_support:validate", "select": "error",
        "direction": "minimise", "folds": 2,
    }  # fmt: skip
    return TableRecipe.model_validate(whole | named | changes)
