"""A model is opened only when its bytes are those its card names."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from readingroom.core.errors import BadInput
from readingroom.inference.session import Model, threads


def twice() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_runs_a_model_whose_hash_is_right(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(twice())
    model = Model(path, hashlib.sha256(twice()).hexdigest())
    assert model.width == 2
    assert model.outputs == ("y",)
    assert {name: out.tolist() for name, out in model.run(np.array([[1, 2]])).items()} == {"y": [[2, 4]]}


def test_refuses_weights_changed_by_one_byte(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = bytearray(twice())
    right = hashlib.sha256(bytes(data)).hexdigest()
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BadInput, match="SHA-256"):
        Model(path, right)


def test_refuses_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(BadInput, match="not an ONNX model"):
        Model(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_missing_file_names_only_itself(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        Model(tmp_path / "m.onnx", "0" * 64)
    assert str(tmp_path) not in str(error.value)


def test_threads_follow_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINGROOM_READER_THREADS", "1")
    assert threads() == 1
    monkeypatch.setenv("READINGROOM_READER_THREADS", "many")
    assert threads() == 2


def test_onnxruntime_tells_nobody_what_it_runs(tmp_path: Path) -> None:
    """It keeps an id of the device and what it means to send in the cache folder, if it may."""
    path = tmp_path / "m.onnx"
    path.write_bytes(twice())
    program = (
        "import hashlib, pathlib, sys; from readingroom.inference.session import Model;"
        "path = pathlib.Path(sys.argv[1]); Model(path, hashlib.sha256(path.read_bytes()).hexdigest())"
    )
    # No variable of a test machine: on those onnxruntime is silent by itself.
    bare = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program, str(path)], env=bare, check=True, timeout=120)
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]
