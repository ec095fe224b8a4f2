"""What an installation is made of, and under which licence each part is: for ``make sbom`` and for the gate.

Python packages come from ``requirements.lock`` with the libraries and crates inside their wheels, packages of the
pages from ``package-lock.json``, the viewer from its pinned archive, weights from the readers' folders. Whether a
licence may travel is said in ``licences.toml``. What is not installed here (other platforms) is not looked at.
"""

import base64
import hashlib
import importlib.metadata
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "readingroom"
SPDX = get_spdx_licensing()
# Classifiers that mean one licence and no other.
CLASSIFIERS = {"MIT License": "MIT", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0"}
_LIBRARY = re.compile(r"(lib[^.]+?)(?:-[0-9a-f]{6,})*(?:\.[0-9.]+)?\.(?:so[0-9.a-z]*|dylib)")


@dataclass(frozen=True)
class Part:
    """One thing that travels. ``licence`` is an SPDX expression, empty where it is not known."""

    kind: str
    """``python``, ``npm``, ``viewer``, ``native`` (a shared library), ``crate``, ``weights`` or ``file``."""
    name: str
    version: str
    licence: str
    purl: str = ""
    hashes: tuple[tuple[str, str], ...] = ()
    """Algorithm and hex digits. A locked package has one for each file it is published as."""
    needs: tuple[str, ...] = ()
    """Names of the Python packages it needs."""
    build_only: bool = False
    owner: str = ""
    """Of a file: the weights it belongs to."""
    parts: tuple["Part", ...] = ()


@cache
def policy() -> dict[str, Any]:
    """Return ``licences.toml``."""
    return tomllib.loads((Path(__file__).parent / "licences.toml").read_text("utf-8"))


def everything() -> list[Part]:
    """Return all parts of an installation, parts of parts inside them."""
    return [*python_packages(), *npm_packages(), viewer(), *weights()]


def walk(parts: list[Part] | tuple[Part, ...], inside: str = "") -> Iterator[tuple[str, Part]]:
    """Yield each part with where it lies, and the parts within."""
    for part in parts:
        where = f"{inside}{part.name} {part.version}".strip()
        yield where, part
        yield from walk(part.parts, f"{where} / ")


def problem(part: Part) -> str:
    """Return why the part may not travel, or nothing."""
    if not part.licence:
        return "its licence is not known: read it and state it in scripts/licences.toml"
    try:
        expression = SPDX.parse(part.licence, validate=True)
    except ExpressionError:
        return f"{part.licence!r} is no SPDX expression"
    if not _fits(expression, part):
        return f"{part.licence} may not travel"
    return ""


def _fits(expression: LicenseExpression, part: Part) -> bool:
    operator = getattr(expression, "operator", "").strip()
    if operator == "OR":
        return any(_fits(one, part) for one in expression.args)
    if operator == "AND":
        return all(_fits(one, part) for one in expression.args)
    key = str(expression)
    if key.startswith(("GPL-", "AGPL-")) and " WITH " not in key:
        return False
    weak = {one["licence"]: one["names"] for one in policy()["weak"]}
    if key in policy()["permissive"] or part.name in weak.get(key, ()):
        return True
    research = {one["licence"]: one["names"] for one in policy()["research"]}
    return part.kind in ("weights", "file") and (part.owner or part.name) in research.get(key, ())


# Python


def python_packages() -> list[Part]:
    """Return the packages of the lock file that are for this platform."""
    locked = _locked()
    at_run_time = _closure(_project()["dependencies"], set(locked))
    return [
        Part(
            kind="python",
            name=name,
            version=version,
            licence=python_licence(name),
            purl=f"pkg:pypi/{name}@{version}",
            hashes=hashes,
            needs=tuple(sorted(_needs(name, frozenset()) & set(locked))),
            build_only=name not in at_run_time,
            parts=(*_native(name), *_of_wheel_sbom(name)),
        )
        for name, (version, hashes) in locked.items()
    ]


def direct_needs() -> list[str]:
    """Return the names of the packages that the project itself asks for."""
    return [canonicalize_name(Requirement(text).name) for text in _project()["dependencies"]]


def python_licence(name: str) -> str:
    """Return the SPDX expression a package states, in one of the ways there are, or that we have read for it."""
    if name in policy()["stated"]:
        return str(policy()["stated"][name]["licence"])
    return stated_by_metadata(name)


def stated_by_metadata(name: str) -> str:
    """Return what the installed package's own metadata say, where they say it in SPDX or by one plain classifier."""
    metadata = importlib.metadata.metadata(name)
    for text in (metadata.get("License-Expression", ""), metadata.get("License", "")):
        if text and _is_spdx(text):
            return str(SPDX.parse(text))
    words = [line.rsplit(" :: ", 1)[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    return CLASSIFIERS.get(words[0], "") if len(words) == 1 else ""


def _is_spdx(text: str) -> bool:
    try:
        SPDX.parse(text, validate=True)
    except ExpressionError:
        return False
    return len(text) < 200


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _locked() -> dict[str, tuple[str, tuple[tuple[str, str], ...]]]:
    """Return name -> version and hashes, of the lock's lines that count on this platform."""
    found = {}
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / "requirements.lock").read_text("utf-8").strip()):
        head, _, marker = entry.split("\\")[0].strip().partition(";")
        if marker and not Marker(marker.strip()).evaluate():
            continue
        name, _, version = head.strip().partition("==")
        hashes = tuple(("SHA-256", digest) for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
        found[str(canonicalize_name(name))] = (version, hashes)
    return found


def _needs(name: str, extras: frozenset[str]) -> set[str]:
    return {need for need, _ in _requirements(name, extras)}


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        if requirement.marker is None or any(requirement.marker.evaluate(one) for one in environments):
            yield str(canonicalize_name(requirement.name)), frozenset(requirement.extras)


def _closure(texts: list[str], known: set[str]) -> set[str]:
    """Return all that these requirements need, and that need what these need."""
    waiting = [(str(canonicalize_name(r.name)), frozenset(r.extras)) for r in map(Requirement, texts)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        if one in seen or one[0] not in known:
            continue
        seen.add(one)
        waiting.extend(_requirements(*one))
    return {name for name, _ in seen}


def _native(name: str) -> list[Part]:
    """Return the shared libraries that a wheel brought along."""
    found = []
    for file in importlib.metadata.files(name) or ():
        if not file.parts[0].endswith(".libs") and ".dylibs" not in file.parts:
            continue
        match = _LIBRARY.fullmatch(file.name)
        path = Path(str(file.locate()))
        if match is None or not path.is_file():
            continue
        stem, wheel = match[1], file.parts[0].split(".")[0]
        licence = policy()["native"].get(f"{wheel}/{stem}", policy()["native"].get(stem, ""))
        found.append(Part("native", stem, file.name, licence, hashes=(("SHA-256", _sha256(path)),)))
    return found


def _of_wheel_sbom(name: str) -> list[Part]:
    """Return what a wheel's own SBOM (PEP 770) says was built into it, where it states licences."""
    found = []
    for file in importlib.metadata.files(name) or ():
        if "sboms" not in file.parts or not file.name.endswith(".json"):
            continue
        for one in json.loads(file.read_text("utf-8")).get("components", ()):
            words = [w.get("expression") or (w.get("license") or {}).get("id", "") for w in one.get("licenses", ())]
            if one.get("scope", "required") != "required" or not any(words):
                continue
            licence = str(SPDX.parse(" AND ".join(f"({word})" for word in words if word)))
            purl = one.get("purl", "")
            # A purl of a file on the builder's machine names nothing here.
            found.append(Part("crate", one["name"], one.get("version") or "", licence, purl if "?" not in purl else ""))
    return list(dict.fromkeys(found))


# The pages


def npm_packages() -> list[Part]:
    """Return the packages of the pages' lock file that are not only for building."""
    lock = json.loads((PACKAGE / "web" / "frontend" / "package-lock.json").read_text("utf-8"))
    found = []
    for path, one in lock["packages"].items():
        if not path or one.get("dev"):
            continue
        name, version = path.rpartition("node_modules/")[2], one["version"]
        stated = policy()["stated"].get(name, {}).get("licence", "")
        hashes = tuple(_integrity(one.get("integrity", "")))
        licence = stated or one.get("license", "")
        found.append(Part("npm", name, version, licence, _npm_purl(name, version), hashes))
    return sorted(set(found), key=lambda part: (part.name, part.version))


def viewer() -> Part:
    """Return OHIF, whose published build is taken as it is; what was built into it is not listed there."""
    text = (ROOT / "scripts" / "build_frontend.py").read_text("utf-8")
    name, version = re.findall(r'^VIEWER = "(.+)@(.+)"$', text, re.MULTILINE)[0]
    block = text[text.index("VIEWER_SHA512 = (") :]
    digest = "".join(re.findall(r'"([0-9a-f]{64})"', block)[:2])
    return Part("viewer", name, version, "MIT", _npm_purl(name, version), (("SHA-512", digest),))


def _npm_purl(name: str, version: str) -> str:
    return f"pkg:npm/{name.replace('@', '%40')}@{version}"


def _integrity(text: str) -> Iterator[tuple[str, str]]:
    algorithm, _, value = text.partition("-")
    if algorithm in ("sha512", "sha256"):
        yield f"SHA-{algorithm[3:]}", base64.b64decode(value).hex()


# Weights


def weights() -> list[Part]:
    """Return the weights of each reader, with the licence that lies beside them and that its card names."""
    found = []
    for folder in sorted((PACKAGE / "readers").glob("*/weights")):
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "LICENSE"]
        if not files:
            continue
        card = yaml.safe_load((folder.parent / "card.yaml").read_text("utf-8"))
        licence = str(card.get("weights_licence", "")).split(" ")[0] if (folder / "LICENSE").is_file() else ""
        name = f"{card['name']} weights"
        inside = tuple(
            Part("file", path.name, "", licence, hashes=(("SHA-256", _sha256(path)),), owner=name) for path in files
        )
        model = next((part for part in inside if part.name.endswith((".onnx", ".safetensors"))), inside[0])
        found.append(replace(model, kind="weights", name=name, version=str(card["version"]), owner="", parts=inside))
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
