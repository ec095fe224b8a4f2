"""A trained network as ONNX, compared with what was trained before anybody uses it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from readingroom.core.durable import write_durably
from readingroom.core.errors import BadInput
from readingroom.learning.engine.recipe import resolve

if TYPE_CHECKING:
    from readingroom.learning.engine.run import Run

MOST_EXAMPLES, MOST_VALUES = 64, 1 << 21
"""Predicted at one time, and compared after export: so many examples, or values of the input. What a network keeps of
each is many times that."""


def export(run: "Run") -> dict[str, Any]:
    """Write ``network.onnx`` and compare it with torch on real examples. Raises BadInput where they differ too much."""
    import io

    import onnxruntime
    import torch

    recipe, together = run.recipe, run.together
    assert together is not None
    some = min(len(run.data), at_a_time(run.data.arrays[recipe.network.input][0]))
    picked = np.linspace(0, len(run.data) - 1, some).astype(int)
    plain = resolve(recipe.augment)({name: a[picked] for name, a in run.data.arrays.items()}, None)
    image = torch.from_numpy(np.ascontiguousarray(plain[recipe.network.input]))
    buffer = io.BytesIO()
    names = list(recipe.network.outputs)
    torch.onnx.export(
        together, (image[:2],), buffer,  # type: ignore[arg-type] # it takes a file too
        input_names=[recipe.network.input], output_names=names, dynamo=False,
        dynamic_axes={name: {0: "n"} for name in (recipe.network.input, *names)}, opset_version=recipe.opset,
    )  # fmt: skip
    write_durably(run.folder / "network.onnx", buffer.getvalue())
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    there = session.run(names, {recipe.network.input: image.numpy()})
    with torch.no_grad():
        here = [o.numpy() for o in together(image)]
    worst = max(float(np.abs(a - b).max()) for a, b in zip(here, there, strict=True))
    if worst > recipe.parity:
        raise BadInput(
            f"The exported network differs from the trained one by {worst:g}; {recipe.parity:g} is let pass."
        )
    return {"onnx_largest_difference": worst, "onnx_compared_on": len(picked)}


def at_a_time(example: np.ndarray) -> int:
    """Return how many examples like this one are predicted at one time."""
    return max(1, min(MOST_EXAMPLES, MOST_VALUES // example.size))
