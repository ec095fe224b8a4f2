"""``readingroom store``: a plain store is sealed, its keys rotated, by the commands people type."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from readingroom.archive.importer import import_path
from readingroom.archive.receive import Archive
from readingroom.archive.store import open_store
from readingroom.cli.main import main
from readingroom.core.audit import AuditEvent
from readingroom.core.config import load_settings
from readingroom.core.database import Database, upgrade


@pytest.fixture
def home(tmp_path: Path, make_series: Callable[..., list[Dataset]]) -> Path:
    """A home folder with a plain store of four images."""
    folder, home = tmp_path / "in", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    for n, ds in enumerate(make_series(4, patient_name="Zebra^Quagga")):
        ds.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    settings = load_settings(home)
    database = Database(settings.index_url)
    upgrade(database.engine)
    assert import_path(Archive(settings, database, open_store(settings)), folder).accepted == 4
    database.close()
    return home


def test_seal_and_rotate(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at_home = ["--home", str(home)]
    assert main(["store", "encrypt", *at_home]) == 2
    assert "store_encryption is not set" in capsys.readouterr().err
    assert main(["store", "rotate-keys", *at_home]) == 2
    assert "The store is not sealed" in capsys.readouterr().err
    contents = {key: open_store(load_settings(home)).read(key) for key in open_store(load_settings(home)).keys(0)}

    (home / "config.toml").write_text("store_encryption = true\n")
    assert main(["store", "encrypt", *at_home]) == 0
    assert "4 objects sealed" in capsys.readouterr().out
    assert not any(b"Quagga" in path.read_bytes() for path in (home / "store").rglob("*") if path.is_file())
    assert main(["store", "rotate-keys", *at_home]) == 0
    assert "4 objects under new keys, 1 old keys destroyed" in capsys.readouterr().out
    assert main(["store", "rotate-keys", "--project", "care", *at_home]) == 0
    assert main(["store", "rotate-keys", "--project", "nothing", *at_home]) == 2
    store = open_store(load_settings(home))
    assert {key: store.read(key) for key in contents} == contents
    database = Database(load_settings(home).index_url)
    with database.read() as session:
        events = session.scalars(select(AuditEvent.action).where(AuditEvent.actor == "command line")).all()
    database.close()
    assert events == ["store-sealed", "store-keys-rotated", "store-keys-rotated"]
