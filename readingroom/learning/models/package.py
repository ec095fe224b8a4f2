"""What somebody brings as a reader version, whichever form it has, as one draft: card, manifest, the files' bytes.

Four forms: a folder with an ONNX network and a ``manifest.yaml`` (or ``.json``); an ONNX file with its manifest beside
it, of the same name; a MONAI bundle; a folder with ``card.yaml`` and ``weights`` for a reader that is installed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from readingroom.core.errors import BadInput
from readingroom.learning.models import bundle
from readingroom.learning.models.files import first_of, read_bytes, read_words
from readingroom.learning.models.onnx_check import check_onnx
from readingroom.learning.models.statement import NETWORK, Statement
from readingroom.readers.contract import Card
from readingroom.readers.packaged.manifest import Manifest

MANIFESTS = ("manifest.yaml", "manifest.yml", "manifest.json")
MARK = 8
"""Digits of the files' hash in a version: no two things are ever called the same."""
LONGEST_VERSION = 32

Convert = Callable[[Path, Manifest], bytes]
"""``convert(path of TorchScript, manifest) -> ONNX``. Raises BadInput where it cannot be."""


@dataclass(frozen=True)
class Draft:
    """A version that is not kept yet. ``files``: name -> bytes, those that ``statement`` names."""

    statement: Statement
    files: Mapping[str, bytes]

    @property
    def reader(self) -> str:
        return self.statement.card.name

    @property
    def version(self) -> str:
        return self.statement.card.version


def read_package(path: Path, convert: Convert) -> Draft:
    """Return the draft of what lies at ``path``. Nothing of it is run. Raises BadInput."""
    if path.is_file() and path.suffix == ".onnx":
        manifest = first_of(path.parent, *(path.stem + Path(name).suffix for name in MANIFESTS))
        if not manifest:
            raise BadInput(
                f"There is no manifest beside {path.name}.", f"Write {path.stem}.yaml; docs/rooms/learning.md."
            )
        return _network(path.parent, manifest, path.name)
    if not path.is_dir():
        raise BadInput(f"{path.name} is neither a folder nor an ONNX file.", "Unpack an archive first.")
    if (path / bundle.METADATA).is_file():
        return _bundle(path, convert)
    if manifest := first_of(path, *MANIFESTS):
        networks = sorted(one.name for one in path.glob("*.onnx"))
        if len(networks) != 1:
            raise BadInput(f"The folder holds {len(networks)} ONNX files beside its manifest; one is read.")
        return _network(path, manifest, networks[0])
    if (path / "card.yaml").is_file():
        return _weights(path)
    raise BadInput(
        f"{path.name} is no package of a reader.", "It needs a manifest.yaml, a MONAI bundle's configs, or a card.yaml."
    )


def _network(folder: Path, manifest_name: str, network: str) -> Draft:
    manifest = _model(Manifest, read_words(folder, manifest_name), manifest_name)
    return _of_network(manifest, read_bytes(folder, network), network, f"ONNX network with a manifest: {network}")


def _bundle(folder: Path, convert: Convert) -> Draft:
    words, kept = bundle.read(folder)
    manifest = _model(Manifest, words, "the bundle")
    if kept.endswith(".onnx"):
        data = read_bytes(folder, kept)
    else:
        read_bytes(folder, kept)  # for its limits
        data = convert(folder / kept, manifest)
    return _of_network(manifest, data, kept, f"MONAI bundle: {kept}")


def _of_network(manifest: Manifest, data: bytes, name: str, source: str) -> Draft:
    check_onnx(data, name)
    return _draft("network", drafted_card(manifest), manifest, {NETWORK: data}, source)


def _weights(folder: Path) -> Draft:
    """Other weights for a reader that is installed, as a training run leaves them."""
    card = _model(Card, read_words(folder, "card.yaml"), "card.yaml")
    if not card.weights:
        raise BadInput("card.yaml names no weights.")
    files = {}
    for name, wanted in card.weights.items():
        if Path(name).name != name:
            raise BadInput("card.yaml names weights outside the folder weights.")
        files[name] = read_bytes(folder, f"weights/{name}")
        if sha256(files[name]).hexdigest() != wanted:
            raise BadInput(f"weights/{name} is not the file that card.yaml names (SHA-256 differs).")
    return _draft("weights", card, None, files, "weights with their card")


def _draft(kind: str, card: Card, manifest: Manifest | None, files: dict[str, bytes], source: str) -> Draft:
    hashes = {name: sha256(data).hexdigest() for name, data in sorted(files.items())}
    mark = sha256("".join(hashes.values()).encode()).hexdigest()[:MARK]
    version = f"{card.version}+{mark}"
    if len(version) > LONGEST_VERSION:
        raise BadInput(f"The version {card.version} is too long.", f"At most {LONGEST_VERSION - MARK - 1} characters.")
    card = card.model_copy(update={"version": version, "weights": hashes})
    statement = _model(
        Statement, {"kind": kind, "card": card, "manifest": manifest, "files": hashes, "source": source[:200]}, "it"
    )
    return Draft(statement, files)


def drafted_card(manifest: Manifest) -> Card:
    """Return the card of a reader without code: nothing has been measured, and it says so. Pure."""
    takes, gives = manifest.input, manifest.output
    where = f" of the {takes.region}" if takes.region else ""
    return Card(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        question=manifest.question,
        takes=f"A {takes.modality} volume{where}.",
        finds=tuple(one.code for one in gives.classes),
        evidence_level=0,
        evidence="None: it has not been measured here.",
        operating_point=gives.classes[0].threshold or None,
        limits=(
            "It has not been measured here: nobody knows how often it is right on this site's images.",
            "Its scores are the network's own; they have not been calibrated, and nothing tells how far an image is "
            "from those it was trained on.",
            *manifest.notes,
        ),
        weights_licence=manifest.licence,
        data=manifest.data or ("Not stated by its makers.",),
        reader_licence="Apache-2.0",
    )


def _model(kind: Any, words: Any, name: str) -> Any:
    try:
        return kind.model_validate(words)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise BadInput(f"{name} is wrong: {wrong}.") from None
    except RecursionError:
        raise BadInput(f"{name} is nested too deep.") from None
