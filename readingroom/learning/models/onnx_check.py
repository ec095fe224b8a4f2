"""Is this ONNX data and nothing else? Looked at without running it; what runs it is a killable child."""

import onnx
from google.protobuf.message import DecodeError

from readingroom.core.errors import BadInput

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operators of the standard. Others need a library that nobody here has looked at."""


def check_onnx(data: bytes, name: str) -> None:
    """Raise BadInput for what is no ONNX network, names files outside it, or uses operators outside the standard."""
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError):
        raise BadInput(f"{name} is not an ONNX network.") from None
    if not model.graph.node:
        raise BadInput(f"{name} is not an ONNX network: it has no operators.")
    for graph in _graphs(model):
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(graph)):
            raise BadInput(f"{name} keeps weights in other files.", "Save it as one file.")
        strange = sorted({node.domain for node in graph.node} - set(DOMAINS) - {f.domain for f in model.functions})
        if strange:
            raise BadInput(f"{name} uses operators outside the ONNX standard ({', '.join(strange)[:100]}).")
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in given]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise BadInput(f"{name} has {len(inputs)} inputs and {len(model.graph.output)} outputs; one of each is read.")


def _graphs(model: onnx.ModelProto) -> list[onnx.GraphProto | onnx.FunctionProto]:
    """Return the graph, those within its operators (If, Loop, Scan), and the functions."""
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    found = []
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        for node in graph.node:
            for attribute in node.attribute:
                waiting.extend(attribute.graphs)
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
    return found


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> list[onnx.TensorProto]:
    tensors = list(graph.initializer) if isinstance(graph, onnx.GraphProto) else []
    for node in graph.node:
        for attribute in node.attribute:
            tensors.extend(attribute.tensors)
            if attribute.HasField("t"):
                tensors.append(attribute.t)
    return tensors
