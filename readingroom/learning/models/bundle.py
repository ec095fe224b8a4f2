"""A MONAI bundle as a manifest: ``metadata.json`` and ``inference.json`` read as words, nothing in them evaluated.

Every step before the network is translated or the bundle is refused: a step that is skipped changes what the network
sees. Steps after it that only tidy up are skipped, and the card says which.
"""

import re
from pathlib import Path
from typing import Any

from readingroom.core.errors import BadInput, Unsupported
from readingroom.findings import codes
from readingroom.learning.models.files import first_of, read_words

METADATA = "configs/metadata.json"
INFERENCE = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
NETWORKS = ("models/model.onnx", "models/model.ts")
IGNORED = frozenset({
    "LoadImage", "EnsureChannelFirst", "EnsureType", "ToTensor", "CastToType", "ToDevice", "AddChannel",
    "AsChannelFirst",
})  # fmt: skip
"""Steps that change how values are held, and none of them."""
Words = dict[str, Any]


def read(folder: Path) -> tuple[Words, str]:
    """Return the words of a ``Manifest`` and the network's file. Raises BadInput, Unsupported with what is missing."""
    network = first_of(folder, *NETWORKS)
    if not network:
        raise BadInput(
            "The bundle holds neither models/model.onnx nor models/model.ts.",
            "A bundle of pickled weights alone (model.pt) is not opened: export it.",
        )
    name = first_of(folder, *INFERENCE)
    if not name:
        raise BadInput("The bundle holds no configs/inference.json.")
    metadata, inference = _dict(read_words(folder, METADATA), METADATA), _dict(read_words(folder, name), name)
    formats = _dict(metadata.get("network_data_format"), "network_data_format")
    image = _only(formats.get("inputs"), "inputs")
    output = _only(formats.get("outputs"), "outputs")
    if image.get("num_channels", 1) != 1:
        raise Unsupported(f"The network takes {image.get('num_channels')} channels; readers without code take one.")
    post = _steps(inference, "postprocessing")
    activation = _activation(post, output)
    title = str(metadata.get("name") or metadata.get("task") or "MONAI bundle")[:200]
    manifest: Words = {
        "name": _slug(title),
        "version": re.sub(r"[^A-Za-z0-9._-]", "-", str(metadata.get("version", "0")))[:20],
        "title": title,
        "question": str(metadata.get("description") or metadata.get("task") or title)[:500],
        "input": {
            "modality": _modality(image),
            "size": _size(inference, image),
            "overlap": _overlap(inference),
            **_preprocessing(inference),
        },
        "output": {
            "kind": _kind(output),
            "activation": activation,
            "classes": _classes(output, _threshold(post, activation)),
        },
        "licence": str(metadata.get("license") or metadata.get("copyright") or "not stated")[:500],
        "data": [str(one)[:500] for one in (metadata.get("data_source"), metadata.get("data_type")) if one],
        "notes": [*_left_out(post), *_intended(metadata)],
    }
    return manifest, network


def _preprocessing(inference: Words) -> Words:
    """Translate the steps before the network. Raises Unsupported for one that is not known here."""
    found: Words = {"axes": "RAS"}
    turned = False
    for step, words in _steps(inference, "preprocessing"):
        if step == "Orientation":
            found["axes"] = str(_literal(words, "axcodes"))
            turned = True
        elif step == "Spacing":
            found["spacing_mm"] = _literal(words, "pixdim")
        elif step == "ScaleIntensityRange":
            if not words.get("clip") or (words.get("b_min"), words.get("b_max")) not in ((0, 1), (0.0, 1.0)):
                raise Unsupported("The bundle scales intensities to other than 0 to 1, or does not clip them.")
            found["window"] = [_literal(words, "a_min"), _literal(words, "a_max")]
        elif step == "NormalizeIntensity":
            if words.get("nonzero") or words.get("subtrahend") is not None or words.get("divisor") is not None:
                raise Unsupported("The bundle normalises intensities in a way that is not known here.")
            found["window"] = None
        elif step not in IGNORED:
            raise Unsupported(
                f"The bundle's step {step} before the network is not known here, and without it the network would "
                "see something else.",
                "Write a manifest for the network by hand, if the step can be left out.",
            )
    if "window" not in found:
        raise Unsupported("The bundle does not say how intensities are scaled.")
    if not turned:
        raise Unsupported("The bundle does not say which way the axes run (Orientationd).")
    return found


def _steps(inference: Words, part: str) -> list[tuple[str, Words]]:
    """Return the steps of a part in order: name without its ``d`` for dictionaries, and its words."""
    compose = inference.get(part) or {}
    steps = compose.get("transforms", []) if isinstance(compose, dict) else compose
    if not isinstance(steps, list):
        raise Unsupported(f"The bundle's {part} is an expression; nothing in a bundle is evaluated here.")
    found = []
    for step in steps:
        words = _dict(step, f"a step of {part}")
        if not isinstance(off := words.get("_disabled_", False), bool):
            raise Unsupported(f"A step of {part} is switched by an expression; nothing in a bundle is evaluated here.")
        if off:
            continue
        name = str(words.get("_target_", "")).rpartition(".")[2]
        found.append((re.sub(r"(d|D|Dict)$", "", name), words))
    return found


def _size(inference: Words, image: Words) -> Any:
    inferer = inference.get("inferer") or {}
    wanted = inferer.get("roi_size") if isinstance(inferer, dict) else None
    size = wanted if wanted is not None else image.get("spatial_shape")
    if not isinstance(size, list) or not all(isinstance(n, int) for n in size):
        raise Unsupported("The bundle gives no fixed size of a patch (roi_size, spatial_shape).")
    return size if len(size) == 3 else [*size, 1]


def _overlap(inference: Words) -> float:
    inferer = inference.get("inferer") or {}
    overlap = inferer.get("overlap") if isinstance(inferer, dict) else None
    return overlap if isinstance(overlap, int | float) else 0.25


def _kind(output: Words) -> str:
    form = str(output.get("format", ""))
    if output.get("type") == "image" and form in ("segmentation", "labels", "probabilities"):
        return "segmentation"
    if form in ("classes", "classification"):
        return "classification"
    raise Unsupported(
        f"The bundle's output is {form[:40] or 'not described'}; segmentation and classification are read."
    )


def _activation(post: list[tuple[str, Words]], output: Words) -> str:
    for step, words in post:
        if step == "Activations":
            return "softmax" if words.get("softmax") else "sigmoid" if words.get("sigmoid") else "none"
    channels = output.get("num_channels", 1)
    return "softmax" if isinstance(channels, int) and channels > 1 else "none"


def _threshold(post: list[tuple[str, Words]], activation: str) -> Any:
    """Return the score from which a class counts; of classes that exclude each other the largest wins: 0."""
    named = [words["threshold"] for step, words in post if step == "AsDiscrete" and words.get("threshold") is not None]
    return named[0] if named else 0.0 if activation == "softmax" else 0.5


def _left_out(post: list[tuple[str, Words]]) -> list[str]:
    kept = sorted({step for step, _ in post} - IGNORED - {"Activations", "AsDiscrete", "Invert", "SaveImage"})
    return [f"Of the bundle's steps after the network these are not done: {', '.join(kept)[:300]}."] if kept else []


def _classes(output: Words, threshold: Any) -> list[Words]:
    """Return the channels that stand for something: all but the background."""
    named = _dict(output.get("channel_def"), "channel_def")
    classes = []
    for channel, name in named.items():
        if not str(channel).isdecimal():
            raise BadInput("channel_def names a channel that is no number.")
        if str(name).lower() not in ("background", "bg"):
            classes.append({"channel": int(channel), "code": _code(str(name)).model_dump(), "threshold": threshold})
    if not classes:
        raise BadInput("The bundle names no channel but the background.")
    return classes


def _code(name: str) -> Any:
    known = {codes.code(one).meaning.lower(): one for one in codes.names()}
    if name.lower() in known:
        return codes.code(known[name.lower()])
    return codes.own(_slug(name)[:16], name[:64])


def _modality(image: Words) -> str:
    modality = str(image.get("modality", "")).upper()
    found = {"CT": "CT", "MR": "MR", "MRI": "MR"}.get(modality)
    if found is None:
        raise Unsupported(f"The bundle takes {modality[:20] or 'no stated modality'}; CT and MR volumes are read.")
    return found


def _intended(metadata: Words) -> list[str]:
    intended = str(metadata.get("intended_use") or "").strip()
    return [f"Its makers say: {intended[:300]}"] if intended else []


def _literal(words: Words, name: str) -> Any:
    value = words.get(name)
    if value is None or (isinstance(value, str) and value[:1] in "$@%"):
        raise Unsupported(f"The bundle's {name} is an expression or missing; nothing in a bundle is evaluated here.")
    return value


def _only(formats: Any, what: str) -> Words:
    found = _dict(formats, what)
    if len(found) != 1:
        raise Unsupported(f"The network has {len(found)} {what}; one is read.")
    return _dict(next(iter(found.values())), what)


def _dict(value: Any, what: str) -> Words:
    if not isinstance(value, dict):
        raise BadInput(f"The bundle's {what} is not what MONAI writes.")
    return value


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
    return slug if re.match(r"[a-z][a-z0-9-]", slug) else f"reader-{slug}".rstrip("-")
