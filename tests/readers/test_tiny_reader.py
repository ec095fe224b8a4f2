"""A third party's reader comes as a package of its own, and goes wrong in every way without harming the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from readingroom.imaging.simulate import write_chest_ct

PACKAGE = Path(__file__).parent.parent / "tiny_reader"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny reader, installed by pip into a folder, without network."""
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "--target", str(target), str(PACKAGE),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=120)
    assert list(target.glob("tiny_reader-*.dist-info"))
    return target


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chest")
    write_chest_ct(folder, slices=40, rows=96)
    return folder


def call(site: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), **variables}
    code = "import sys; from readingroom.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


def test_it_is_listed_beside_ours(installed: Path) -> None:
    names = {one["name"]: one for one in json.loads(call(installed, "readers", "--json").stdout)}
    assert names["tiny-brightest"]["usable"]
    assert names["tiny-brightest"]["package"] == "tiny-reader 1.0.0"
    assert names["lung-nodule"]["usable"]


def test_it_reads(installed: Path, chest: Path) -> None:
    done = call(installed, "read", str(chest), "--reader", "tiny-brightest", "--json")
    assert done.returncode == 0, done.stderr
    (reading,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert reading["state"] == "found"
    assert reading["findings"][0]["place"]["type"] == "patient"
    assert len(reading["findings"][0]["position_lps_mm"]) == 3


@pytest.mark.parametrize(
    ("mode", "state", "status"),
    [("crash", "failed", 1), ("abstain", "abstained", 0), ("nothing", "read-nothing-found", 0), ("heat", "failed", 1)],
)
def test_its_states_reach_the_command_line(installed: Path, chest: Path, mode: str, state: str, status: int) -> None:
    done = call(installed, "read", str(chest), "--reader", "tiny-brightest", "--json", TINY_READER_MODE=mode)
    assert done.returncode == status
    (reading,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert reading["state"] == state
    assert reading["reason"]
    assert "Doe" not in done.stdout + done.stderr


def test_one_that_cannot_be_imported_fails_alone(installed: Path) -> None:
    done = call(installed, "readers", "--json", TINY_READER_MODE="import")
    names = {one["name"]: one for one in json.loads(done.stdout)}
    assert not names["tiny-brightest"]["usable"]
    assert "ImportError" in names["tiny-brightest"]["error"]
    assert names["lung-nodule"]["usable"]
