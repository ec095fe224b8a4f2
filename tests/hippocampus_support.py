"""The hippocampus reader with a network that draws a known body: what comes before and after the network can be tested
against the truth, whatever the weights."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from readingroom.inference.domain import Domain, EnsembleDomain
from readingroom.readers.hippocampus import card
from readingroom.readers.hippocampus.crops import SHAPE
from readingroom.readers.hippocampus.reader import HippocampusReader

DRAWN = "hippocampus-drawn"
"""Its name where it is installed beside the real one."""
FOLDER_VARIABLE = "HIPPOCAMPUS_TEST_FOLDER"
RADII = (7.5, 18.5, 8.5)
"""Of the body drawn in the middle of every crop, voxels along R, A, S; its front half is anterior."""


class Drawn(HippocampusReader):
    """What the entry point of a test names: the reader on the folder that the environment gives."""

    def __init__(self) -> None:
        super().__init__(Path(os.environ[FOLDER_VARIABLE]))


def body() -> np.ndarray:
    """Labels ``SHAPE`` of what the network draws."""
    index = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij"))
    inside = (index / np.array(RADII).reshape(3, 1, 1, 1)) ** 2
    return np.where(inside.sum(axis=0) <= 1, np.where(index[1] > 0, 1, 2), 0).astype(np.uint8)


def make_folder(folder: Path, *, name: str = "hippocampus", features: float = 0.0) -> Path:
    """Write card and weights. ``name``: the reader's on its card.

    ``features``: what the network says of every crop; far from 0 is out of its domain.
    """
    weights = folder / "weights"
    weights.mkdir(parents=True)
    labels = body()
    logits = np.stack([np.where(labels == n, 3.0, 0.0) for n in range(3)]).astype(np.float32)[None]
    graph = helper.make_graph(
        [
            # Nothing of the image but the number of crops: times 0, plus what is drawn.
            helper.make_node("Mul", ["image", "nought"], ["flat"]),
            helper.make_node("Add", ["flat", "drawn"], ["logits"]),
            helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[2, 3, 4], keepdims=0),
            helper.make_node("Add", ["mean", "said"], ["features"]),
        ],
        "drawn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, *SHAPE])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3, *SHAPE]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 4]),
        ],
        [
            numpy_helper.from_array(np.zeros(1, np.float32), "nought"),
            numpy_helper.from_array(logits, "drawn"),
            numpy_helper.from_array(np.full((1, 4), features, np.float32), "said"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(weights / "network.onnx"))
    one = Domain(mean=(0.0,) * 4, axes=(), variances=(), rest=1.0, examples=20, patients=20)
    domain = EnsembleDomain(networks=(one,), abstain_above=3.0, validation_patients=20)
    numbers = {"n": 20, "dice_mean": 1.0, "dice_whole": 1.0, "hd95_mm": 0.0, "volume_bias_percent": 0.0}
    log = {
        "out_of_fold": numbers, "out_of_fold_without_shift": numbers, "training_cases": 20, "locked_test_cases": 0,
        "trained_on": [],
    }  # fmt: skip
    written = {"calibration.json": {"anterior": 0.0, "posterior": 0.0}, "domain.json": domain.model_dump(),
               "training.json": log}  # fmt: skip
    for file, value in written.items():
        (weights / file).write_text(json.dumps(value))
    card.write(folder / "card.yaml", weights, None)
    text = (folder / "card.yaml").read_text("utf-8")
    (folder / "card.yaml").write_text(text.replace("name: hippocampus\n", f"name: {name}\n"), "utf-8")
    return folder
