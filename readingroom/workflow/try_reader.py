"""A draft of a reader version, tried in a killable child before anything of it is kept: it loads and runs, or not."""

from pathlib import Path

from readingroom.core.config import Settings
from readingroom.core.errors import BadInput
from readingroom.learning.models.package import Draft
from readingroom.learning.models.serving import Package
from readingroom.readers.packaged.manifest import Manifest
from readingroom.workflow.process import ChildFailed, run_child, scratch


def try_draft(settings: Settings, draft: Draft) -> None:
    """Load the draft's reader and run it once on nothing. Raises BadInput with what is wrong."""
    with scratch(settings) as folder:
        files = {}
        for number, (name, data) in enumerate(draft.files.items()):
            path = folder / f"weights-{number}"
            path.write_bytes(data)
            files[name] = str(path)
        package = Package(reader=draft.reader, version=draft.version, statement=draft.statement.text(), files=files)
        request = {"task": "readers", "readers": [draft.reader], "packages": [package.model_dump()]}
        try:
            (answer,) = run_child(settings, folder, request)["readers"]
        except ChildFailed as error:
            raise BadInput(f"It could not be run: {error.message}") from None
    if answer["error"]:
        raise BadInput(f"It cannot be used: {answer['error']}")


def torchscript_to_onnx(settings: Settings, path: Path, manifest: Manifest) -> bytes:
    """Return TorchScript as ONNX, made in a killable child. Raises BadInput where torch is not here or cannot."""
    with scratch(settings) as folder:
        request = {"task": "convert", "path": str(path.absolute()), "size": list(manifest.input.size)}
        try:
            answer = run_child(settings, folder, request)
        except ChildFailed as error:
            raise BadInput(f"The TorchScript could not be made ONNX: {error.message}") from None
        if answer["error"]:
            raise BadInput(str(answer["error"]), "Export the network as ONNX where it was made, as models/model.onnx.")
        return (folder / "network.onnx").read_bytes()
