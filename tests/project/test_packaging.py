"""What travels: the wheel with its pages, weights and tables; the lock files; the set-up's plain sentences."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCKS = ("requirements.lock", "requirements-test.lock")
TRAINING_LOCKS = ("requirements-train.lock", "requirements-train-cpu.lock")


def pins(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if match := re.match(r"([a-zA-Z0-9._-]+)==([^ ;\\]+)", line):
            found.setdefault(match[1].lower().replace("_", "-").replace(".", "-"), set()).add(match[2])
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wheel_holds_all_that_runs(tmp_path: Path) -> None:
    """Built from a copy, as others are at work in the checkout; the built pages come along and are not built again."""
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns("node_modules", "__pycache__", ".venv*", ".git", "*_cache", "demo-data", "work")
    (copy / "readingroom").parent.mkdir()
    shutil.copytree(ROOT / "readingroom", copy / "readingroom", ignore=left_out)
    shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    result = subprocess.run(build, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(copy).as_posix()
        for path in (copy / "readingroom").rglob("*")
        if path.is_file() and "frontend" not in path.parts
    }
    assert wanted - names == set()
    for name in ("static/app/index.html", "static/viewer/index.html", "migrations/versions/0001_first_schema.py"):
        assert f"readingroom/web/{name}" in names or f"readingroom/{name}" in names, name
    assert any("/weights/" in name and name.endswith(".onnx") for name in names)
    assert not any("/frontend/" in name or name.endswith(".map") or "/ort/" in name for name in names)
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert "readingroom.cli.main:main" in archive.read(entry_points).decode()


@pytest.mark.parametrize("name", LOCKS + TRAINING_LOCKS)
def test_every_pin_has_a_hash_and_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    entries = re.split(r"\n(?=[a-zA-Z0-9])", text.strip())
    assert len(entries) > (5 if name.endswith("-cpu.lock") else 50)
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert "file:" not in text


def test_both_locks_say_the_same() -> None:
    run, test = pins(LOCKS[0]), pins(LOCKS[1])
    assert set(run) < set(test)
    assert {name: versions for name, versions in run.items() if test[name] != versions} == {}


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for lock, wanted in (
        (LOCKS[0], [*project["dependencies"], *extras["build"]]),
        (LOCKS[1], [*project["dependencies"], *extras["build"], *extras["test"]]),
    ):
        names = {re.match(r"[A-Za-z0-9._-]+", w)[0].lower().replace("_", "-").replace(".", "-") for w in wanted}  # type: ignore[index]
        assert names - set(pins(lock)) == set(), lock


def test_nothing_that_may_not_be_shipped() -> None:
    """GPL code, and torch at run time."""
    for lock in LOCKS:
        assert not {"pylibjpeg-libjpeg", "torch", "nvidia-cudnn-cu12", "pyqt5", "itk-elastix"} & set(pins(lock))


def run_setup(folder: Path, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up script of a copy with a PATH of the test's own."""
    (folder / "scripts").mkdir(exist_ok=True)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    for name in (*LOCKS, *TRAINING_LOCKS, "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    shell = shutil.which("sh") or "/bin/sh"
    return subprocess.run(
        [shell, str(folder / "scripts" / "setup.sh"), "run"],
        env={"PATH": path, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def tools(folder: Path, **scripts: str) -> str:
    """A folder with the plain programs the script uses, and made-up ones."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in ("cat", "cksum", "grep", "cut", "dirname", "rm", "uname"):
        if name not in scripts:
            os.symlink(shutil.which(name) or f"/bin/{name}", bin_folder / name)
    for name, text in scripts.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_folder / name).chmod(0o755)
    return str(bin_folder)


def test_no_python(tmp_path: Path) -> None:
    result = run_setup(tmp_path, tools(tmp_path))
    assert result.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in result.stderr
    assert "There is no Python here." in result.stderr


def test_wrong_python(tmp_path: Path) -> None:
    old = 'case "$2" in *platform*) echo 3.9.2;; *) exit 1;; esac'
    result = run_setup(tmp_path, tools(tmp_path, python3=old))
    assert result.returncode == 1
    assert "python3 is 3.9.2." in result.stderr
    assert "make setup PYTHON=" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_python_without_venv(tmp_path: Path) -> None:
    bare = 'case "$2" in *platform*) echo 3.11.2;; *ensurepip*) exit 1;; *) exit 0;; esac'
    result = run_setup(tmp_path, tools(tmp_path, **{"python3": bare}))
    assert result.returncode == 1
    assert "lacks its venv module" in result.stderr
    assert "apt install python3.11-venv" in result.stderr


def test_other_platform(tmp_path: Path) -> None:
    result = run_setup(tmp_path, tools(tmp_path, uname='case "$1" in -s) echo FreeBSD;; -m) echo riscv64;; esac'))
    assert result.returncode == 1
    assert "This is FreeBSD on riscv64." in result.stderr


def test_half_finished_folder_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "left-over").write_text("")
    # A Python that is right but cannot make the folder: the test ends before anything is fetched.
    stub = 'case "$*" in *platform*) echo 3.12.1;; *"-m venv"*) exit 1;; *) exit 0;; esac'
    result = run_setup(tmp_path, tools(tmp_path, **{"python3.12": stub}))
    assert "making it anew" in result.stdout
    assert not (tmp_path / ".venv").exists()
    assert "could not make the folder" in result.stderr
    assert result.returncode == 1


def test_the_pages_are_built_anew_when_a_table_they_share_changes() -> None:
    """Whatever the pages import from outside their folder is part of what the build's stamp is made of."""
    spec = importlib.util.spec_from_file_location("build_frontend", ROOT / "scripts" / "build_frontend.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    hashed = set(script._source_files())
    imported = set()
    for path in (script.SOURCES / "src").rglob("*.ts*"):
        for name in re.findall(r'from "(\.[^"]+)"', path.read_text("utf-8")):
            target = (path.parent / name).resolve()
            if not target.is_relative_to(script.SOURCES):
                imported.add(target)
    assert {path.name for path in imported} >= {"codes.json", "reasons.json"}
    assert imported <= hashed


def test_make_names_its_targets() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in ("setup", "demo", "test", "lint", "bench", "lock", "clean"):
        assert re.search(rf"^{target}:", text, re.MULTILINE), target
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in ci
    assert "READINGROOM_NO_SKIP=1" in ci
