"""ONNX models: opened only when their bytes have the SHA-256 their card names, run on a set number of threads.

Models are data. Nothing is unpickled and no custom operator library is loaded.
"""

import os
from pathlib import Path

import numpy as np
import onnxruntime

from readingroom.core.errors import BadInput
from readingroom.inference.weights import checked_bytes as checked_bytes

THREADS_VARIABLE = "READINGROOM_READER_THREADS"


def threads() -> int:
    """Threads a reader may use: the variable the workflow sets for its reader child, else two."""
    text = os.environ.get(THREADS_VARIABLE, "")
    return max(1, int(text)) if text.isdecimal() else 2


class Model:
    """One ONNX model with one input. ``outputs``: the names of what it gives, in its own order."""

    def __init__(self, path: Path, sha256: str) -> None:
        """Open ``path``. Raises BadInput where its bytes are not those ``sha256`` names, or aren't a model."""
        data = checked_bytes(path, sha256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exception classes are not public
            raise BadInput(f"{path.name} is not an ONNX model that can be run: {type(error).__name__}.") from None
        if len(self._session.get_inputs()) != 1:
            raise BadInput(f"{path.name} has not just one input.")
        self._input = self._session.get_inputs()[0]
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    @property
    def width(self) -> int | None:
        """Columns of the input, where the model fixes them."""
        size = self._input.shape[-1]
        return size if isinstance(size, int) else None

    @property
    def rank(self) -> int:
        """Dimensions of the input."""
        return len(self._input.shape)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name for ``batch`` (float32)."""
        out = self._session.run(None, {self._input.name: np.ascontiguousarray(batch, np.float32)})
        return {name: np.asarray(one) for name, one in zip(self.outputs, out, strict=True)}
