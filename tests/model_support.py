"""Small networks and packages of readers, made here: what the tests of reader versions share."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from readingroom.learning.models.adding import add_version
from readingroom.learning.models.changing import Action, change
from readingroom.learning.models.life import life_by_id
from readingroom.learning.models.package import read_package
from readingroom.learning.models.tables import ModelVersion
from readingroom.workflow.rooms import Rooms

BRIGHT = {
    "name": "bright-spots",
    "version": "1.0",
    "title": "Bright spots",
    "question": "Where is it bright?",
    "input": {"modality": "CT", "region": "chest", "size": [4, 16, 16], "window": [-1024, 0]},
    "output": {"kind": "detection", "code": "nodule", "threshold": 0.5},
}
"""A manifest for ``identity()``: what is above half of the window is a finding."""


def identity(scale: float = 1.0, rank: int = 5) -> bytes:
    """A network whose score is its input times ``scale``."""
    shape = [None] * rank
    factor = numpy_helper.from_array(np.array(scale, np.float32), "factor")
    return _model([helper.make_node("Mul", ["image", "factor"], ["scores"])], shape, shape, [factor])


def mean_score() -> bytes:
    """A classifier of two channels: the mean of its input, and what that leaves of one."""
    axes = numpy_helper.from_array(np.array([2, 3, 4], np.int64), "axes")
    one = numpy_helper.from_array(np.array(1, np.float32), "one")
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["one", "mean"], ["rest"]),
        helper.make_node("Concat", ["mean", "rest"], ["scores"], axis=1),
    ]
    return _model(nodes, [None] * 5, [None, None], [axes, one])


def _model(nodes: list[Any], takes: list[Any], gives: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, takes)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, gives)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def package(folder: Path, network: bytes | None = None, **changes: Any) -> Path:
    """A folder with a network and its manifest; ``changes`` replace parts of ``BRIGHT``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(identity() if network is None else network)
    (folder / "manifest.yaml").write_text(yaml.safe_dump({**BRIGHT, **changes}), "utf-8")
    return folder


def in_shadow(rooms: Rooms, folder: Path, scale: float = 1.0, **changes: Any) -> ModelVersion:
    """A version in shadow that calls the installed tiny reader's name its own."""
    words = {"name": "tiny-brightest", **changes}
    draft = read_package(package(folder / f"package-{scale}", identity(scale), **words), lambda *_: b"")
    with rooms.database.write() as session:
        return add_version(session, rooms.settings, draft, actor="ann", why="to see")


def move(rooms: Rooms, row: ModelVersion, action: str) -> None:
    """Change a version's state."""
    with rooms.database.write() as session:
        change(session, rooms.settings, life_by_id(session, row.id), Action(action), actor="ann", why="x")
