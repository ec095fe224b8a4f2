"""What the killable child does with TorchScript: make ONNX of it, where torch is installed."""

from pathlib import Path
from typing import Any

Json = dict[str, Any]


def convert(request: Json) -> Json:
    """Write ``network.onnx`` into the working folder; ``error`` says why not. Torch never reads at run time."""
    try:
        import torch
    except ImportError:
        return {"error": "The network is TorchScript, and torch is not installed here."}
    size = request["size"]
    example = torch.zeros(1, 1, *(n for n in size if n > 1 or len(size) < 3))
    try:
        network = torch.jit.load(request["path"], map_location="cpu").eval()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            try:
                network(torch.zeros(1, 1, *size))
                example = torch.zeros(1, 1, *size)
            except RuntimeError:
                # A network of two dimensions: the thin axis is left out.
                network(example)
        torch.onnx.export(
            network, (example,), str(Path("network.onnx")), input_names=["image"], output_names=["scores"], dynamo=False
        )
    except Exception as error:
        return {"error": f"The TorchScript could not be made ONNX ({type(error).__name__})."}
    return {"error": ""}
