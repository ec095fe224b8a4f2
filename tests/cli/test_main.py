"""The command line: fast to say what it does, plain when something is wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import func, select

from readingroom import __version__
from readingroom.access.passwords import is_right
from readingroom.access.tables import Account
from readingroom.archive.tables import Instance
from readingroom.cli.main import COMMANDS, main
from readingroom.core.database import Database


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "readingroom.cli", *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**os.environ, **environment}, timeout=120,
    )  # fmt: skip


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys\nfrom readingroom.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
    )
    code += "heavy = {'sqlalchemy', 'numpy', 'pydicom', 'fastapi', 'dbos'} & set(sys.modules)\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"readingroom {__version__}\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "usage: readingroom" in capsys.readouterr().out


def test_errors_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == "readingroom: There is no such file or folder.\n  Check the path.\n"
    (tmp_path / "config.toml").write_text("web_port = [")
    assert main(["serve", "--home", str(tmp_path)]) == 2
    assert "not valid TOML" in capsys.readouterr().err


def test_a_taken_port_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (tmp_path / "config.toml").write_text(f"dicom_port = {port}\n")
        assert main(["serve", "--home", str(tmp_path)]) == 2
    assert f"Port {port} on 127.0.0.1 is taken." in capsys.readouterr().err


def test_accounts(tmp_path: Path) -> None:
    add = ("account", "add", "rada", "--role", "radiologist", "--home", str(tmp_path))
    done = run(*add, READINGROOM_PASSWORD="correct-horse-battery-9")
    assert (done.returncode, done.stdout) == (0, "account rada: done\n"), done.stderr
    again = run(*add, READINGROOM_PASSWORD="correct-horse-battery-9")
    assert (again.returncode, "Traceback" in again.stderr) == (2, False)
    weak = run("account", "password", "rada", "--home", str(tmp_path), READINGROOM_PASSWORD="short")
    assert weak.returncode == 2
    (tmp_path / "password").write_text("tinfoil kettle ostrich\n")
    named = ("--password-file", str(tmp_path / "password"), "--home", str(tmp_path))
    assert run("account", "password", "rada", *named).returncode == 0
    assert run("account", "password", "rada", "--password-file", str(tmp_path), "--home", str(tmp_path)).returncode == 2
    assert run("account", "reset-factors", "rada", "--home", str(tmp_path)).returncode == 0
    assert run("account", "reset-factors", "nobody", "--home", str(tmp_path)).returncode == 2
    assert (tmp_path.stat().st_mode & 0o777) in (0o700, 0o755)
    database = Database(f"sqlite:///{tmp_path / 'index.sqlite'}")
    with database.read() as session:
        (account,) = session.scalars(select(Account)).all()
    assert account.name == "rada"
    assert is_right(account.password_hash, "tinfoil kettle ostrich")
    database.close()


def test_import_of_a_folder(
    tmp_path: Path, make_series: Callable[..., list[Dataset]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for n, ds in enumerate(make_series(slices=3)):
        ds.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    (folder / "junk.dcm").write_bytes(b"not DICOM at all" * 20)
    home = tmp_path / "home"
    assert main(["import", str(folder), "--home", str(home)]) == 0
    shown = capsys.readouterr()
    assert "3 stored, 0 already here" in shown.out
    assert "junk" not in shown.out + shown.err, "a file's name may be a patient's"
    assert main(["import", str(folder), "--home", str(home)]) == 0
    assert "0 stored, 3 already here" in capsys.readouterr().out
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    with database.read() as session:
        assert session.scalar(select(func.count(Instance.id))) == 3
    database.close()


def test_no_library_logs_the_values_it_finds_odd() -> None:
    code = (
        "from readingroom.cli.process import configure_log; configure_log('web')\n"
        "from pydicom import Dataset\n"
        "ds = Dataset(); ds.PatientBirthDate = 'Doe^Jane'; ds.PatientSex = 'Doe^Jane'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
