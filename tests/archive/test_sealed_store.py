"""The sealed store: nothing plain on the disk, everything readable at any place, keys that change, kills anywhere."""

import base64
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from readingroom.access.projects import create_project
from readingroom.archive import store as store_module
from readingroom.archive import wado
from readingroom.archive.accept import parse_accept
from readingroom.archive.keyring import ProjectKey
from readingroom.archive.receive import Archive
from readingroom.archive.render_json import render_waiting
from readingroom.archive.reseal import rotate, seal_store
from readingroom.archive.store import LocalStore, open_store
from readingroom.archive.tables import Instance, Study
from readingroom.cli.store import projects_of_keys
from readingroom.core import sealed
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, OutOfResources
from readingroom.core.permissions import ProjectKind
from readingroom.core.sealed import CHUNK_BYTES, HEADER_BYTES, SealBroken, SealedPath
from readingroom.core.secrets import KeyMissing
from readingroom.imaging.series import read_series

MARKER = b"Zebra^Quagga"
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 17)


@pytest.fixture
def sealing(settings: Settings) -> Settings:
    return settings.model_copy(update={"store_encryption": True})


@pytest.fixture
def store(sealing: Settings) -> LocalStore:
    return open_store(sealing)


def fill(store: LocalStore, count: int) -> dict[str, bytes]:
    contents = [MARKER + random.Random(n).randbytes(n * 997 % 3000) for n in range(count)]
    return {store.put(data): data for data in contents}


def assert_all_read(store: LocalStore, contents: dict[str, bytes]) -> None:
    assert {key: store.read(key) for key in contents} == contents


def files(settings: Settings) -> list[Path]:
    return [path for path in settings.store_folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_reads_like_a_file(store: LocalStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    cuts = [0, *sorted(random.Random(size).choices(range(size + 1), k=4)), size]
    key = store.put([memoryview(data)[a:b] for a, b in pairwise(cuts)])
    assert (store.size(key), store.read(key)) == (size, data)
    for start in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, size // 2, size, size + 5):
        for length in (0, 1, 100, CHUNK_BYTES, size):
            assert store.read(key, start, length) == data[start : start + length]
    with store.open(key) as file:
        assert file.seek(-min(size, 10), os.SEEK_END) == size - min(size, 10)
        assert file.read() == data[size - min(size, 10) :]
        assert file.seek(0) == 0
        target = bytearray(size)
        assert file.readinto(target) == size  # type: ignore[attr-defined]
        assert bytes(target) == data


def test_nothing_lies_plain_and_no_name_tells(store: LocalStore, sealing: Settings) -> None:
    fill(store, 20)
    assert len(files(sealing)) == 21
    assert not any(MARKER in path.read_bytes() for path in files(sealing))
    (key,) = (sealing.store_folder / "keys").glob("*.key")
    assert key.stat().st_mode & 0o077 == 0


def test_every_change_to_a_sealed_file_is_seen(store: LocalStore) -> None:
    data = random.Random(1).randbytes(3 * CHUNK_BYTES + 100)
    key = store.put(data)
    source = store.source(key)
    assert isinstance(source, SealedPath)
    whole = source.path.read_bytes()
    chunk = CHUNK_BYTES + 16
    body = [whole[at : at + chunk] for at in range(HEADER_BYTES, len(whole), chunk)]
    head = whole[:HEADER_BYTES]
    flips = [random.Random(n).randrange(len(whole)) for n in range(60)]
    altered = {
        **{f"bit at {at}": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in flips},
        "last chunk gone": head + b"".join(body[:-1]),
        "middle gone": head + body[0] + b"".join(body[2:]),
        "swapped": head + body[1] + body[0] + b"".join(body[2:]),
        "cut": whole[:-1],
        "longer": whole + b"\0",
        "header only": head,
        "empty": b"",
    }
    for what, changed in altered.items():
        source.path.write_bytes(changed)
        try:
            same = store.read(key) == data
        except (SealBroken, KeyMissing):
            continue
        # The second place for a wrapped key holds nothing anyone reads.
        assert same, what
        assert what.startswith("bit at"), what
        assert len(sealed.MAGIC) + sealed.SLOT_BYTES <= int(what.split()[-1]) < HEADER_BYTES, what
    source.path.write_bytes(whole)
    # Another object's bytes under this key's name.
    other = store.source(store.put(b"other"))
    assert isinstance(other, SealedPath)
    source.path.write_bytes(other.path.read_bytes())
    with pytest.raises(SealBroken):
        store.read(key)


def test_the_wrong_secret_key_is_said_and_loses_nothing(sealing: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = fill(open_store(sealing), 3)
    right = (sealing.home / "secret.key").read_text()
    monkeypatch.setenv("READINGROOM_SECRET_KEY", base64.b64encode(bytes(32)).decode())
    with pytest.raises(KeyMissing, match="secret key does not open the keys of the store"):
        open_store(sealing)
    monkeypatch.setenv("READINGROOM_SECRET_KEY", right)
    assert_all_read(open_store(sealing), contents)


def test_a_lost_key_file_is_named_and_what_comes_is_refused_for_now(store: LocalStore, sealing: Settings) -> None:
    contents = fill(store, 3)
    (file,) = (sealing.store_folder / "keys").glob("*.key")
    kept = file.read_bytes()
    file.unlink()
    for key in contents:
        with pytest.raises(KeyMissing, match=file.stem):
            store.read(key)
    file.write_bytes(kept)
    assert_all_read(store, contents)
    # Somebody put in a key file of another site.
    (sealing.store_folder / "keys" / f"{'0' * 32}.key").write_text(kept.decode())
    with pytest.raises(OutOfResources):
        store.put(b"comes later")
    assert len(list(store.keys(0))) == 3


def test_plain_and_sealed_lie_side_by_side(settings: Settings, sealing: Settings) -> None:
    before = fill(open_store(settings), 3)
    store = open_store(sealing)
    contents = before | fill(store, 3)
    assert_all_read(store, contents)
    assert (set(store.plain_keys()), set(store.keys(0))) == (set(before), set(contents))
    # Switched off again: what is sealed stays readable, what comes is plain.
    again = open_store(settings)
    assert_all_read(again, contents)
    contents |= fill(again, 1)
    assert len(list(again.plain_keys())) == 4
    for key in contents:
        again.delete(key)
    assert list(again.keys(0)) == []


@pytest.fixture
def sealed_archive(sealing: Settings, store: LocalStore, sqlite_database: Database) -> Archive:
    return Archive(sealing, sqlite_database, store)


def test_the_archive_serves_from_a_sealed_store(
    sealed_archive: Archive, sealing: Settings, make_series: Callable[..., list[Dataset]], part10: Callable[..., bytes]
) -> None:
    series = make_series(3, rows=300, columns=300, patient_name=MARKER.decode())
    for ds in series:
        assert sealed_archive.put_file(part10(ds), source="test").ok
    assert render_waiting(sealed_archive) == 3
    assert not any(MARKER in path.read_bytes() for path in files(sealing))
    found = wado.find(sealed_archive, series[0].StudyInstanceUID)
    for instance, ds in zip(found, series, strict=True):
        (native,) = wado.frames(sealed_archive, instance, [1], parse_accept("multipart/related"))
        assert native.data == ds.PixelData
        assert b"".join(wado.stream_file(sealed_archive, instance)) == part10(ds)
        assert dcmread(sealed_archive.store.open(instance.store_key)).PatientName == ds.PatientName
    # As a reader's child sees them: by path and data key, through JSON.
    sources = [sealed_archive.store.source(instance.store_key) for instance in found]
    again = [sealed.source_from_json(sealed.source_to_json(source)) for source in sources]
    volume = read_series(again).volume
    assert volume is not None
    assert volume.array.shape == (3, 300, 300)
    assert "data_key" not in repr(sources[0])


def test_rotation_writes_no_pixel_and_destroys_the_old_key(store: LocalStore, sealing: Settings) -> None:
    contents = fill(store, 30)
    bodies = {path: path.read_bytes()[HEADER_BYTES:] for path in sealing.store_folder.rglob("*.sealed")}
    (old,) = (sealing.store_folder / "keys").glob("*.key")
    kept = old.read_bytes()
    done = rotate(store, {})
    assert (done.wrapped, done.broken, done.destroyed) == (30, 0, 1)
    assert not old.exists()
    assert {path: path.read_bytes()[HEADER_BYTES:] for path in bodies} == bodies
    assert_all_read(store, contents)
    assert_all_read(open_store(sealing), contents)
    # The old key, were it found again, opens nothing any more.
    (new,) = (sealing.store_folder / "keys").glob("*.key")
    new.rename(new.with_suffix(".away"))
    old.write_bytes(kept)
    for key in contents:
        with pytest.raises(KeyMissing):
            store.read(key)


def test_an_object_that_does_not_open_keeps_the_old_key(store: LocalStore) -> None:
    contents = fill(store, 5)
    first = next(iter(contents))
    source = store.source(first)
    assert isinstance(source, SealedPath)
    whole = source.path.read_bytes()
    source.path.write_bytes(whole[:20] + bytes(20) + whole[40:])
    done = rotate(store, {})
    assert (done.wrapped, done.broken, done.destroyed) == (4, 1, 0)
    # Brought back from a copy of before the rotation, it opens; the next run ends what was begun.
    source.path.write_bytes(whole)
    assert_all_read(store, contents)
    done = rotate(store, {})
    assert (done.wrapped, done.broken, done.destroyed) == (1, 0, 1)
    assert_all_read(store, contents)


def test_a_new_secret_key_is_taken_up_by_rotation(sealing: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = fill(open_store(sealing), 3)
    old, new = (sealing.home / "secret.key").read_text(), base64.b64encode(bytes(range(32))).decode()
    monkeypatch.setenv("READINGROOM_SECRET_KEY", f"{new} {old}")
    rotate(open_store(sealing), {})
    monkeypatch.setenv("READINGROOM_SECRET_KEY", new)
    assert_all_read(open_store(sealing), contents)


def test_each_project_has_its_own_key_and_a_study_that_moves_follows(
    sealed_archive: Archive, make_series: Callable[..., list[Dataset]], part10: Callable[..., bytes]
) -> None:
    for ds in [*make_series(2), *make_series(2)]:
        assert sealed_archive.put_file(part10(ds), source="test").ok
    store, database = sealed_archive.store, sealed_archive.database
    assert isinstance(store, LocalStore)
    assert store.ring is not None
    with database.write() as session:
        project = create_project(session, "trial", ProjectKind.RESEARCH, actor="test")
        study = session.scalars(select(Study)).first()
        assert study is not None
        study.project_id = project.id
    with database.read() as session:
        keys = session.scalars(select(Instance.store_key)).all()
        project_of = projects_of_keys(session)
    contents = {key: store.read(key) for key in keys}
    assert sorted(project_of[key] for key in keys) == [1, 1, project.id, project.id]
    assert rotate(store, project_of, [project.id]).wrapped == 2
    used = {key: _wrapping_key(store, key) for key in keys}
    assert {used[key] for key in keys if project_of[key] == 1} == {store.ring.current(1).id}
    assert {used[key] for key in keys if project_of[key] != 1} == {store.ring.current(project.id).id}
    # Only the named project's key changes.
    assert rotate(store, project_of, [project.id]).wrapped == 2
    assert [_wrapping_key(store, key) == used[key] for key in keys] == [project_of[key] == 1 for key in keys]
    assert_all_read(store, contents)


def _wrapping_key(store: LocalStore, key: str) -> str:
    source = store.source(key)
    assert isinstance(source, SealedPath)
    slots = source.path.read_bytes()[len(sealed.MAGIC) : HEADER_BYTES]
    used = [slots[at : at + 16].hex() for at in (0, sealed.SLOT_BYTES) if any(slots[at : at + 16])]
    (one,) = used
    return one


def test_sealing_takes_what_rows_name(settings: Settings, sealing: Settings) -> None:
    contents = fill(open_store(settings), 4)
    *named, orphan = contents
    with pytest.raises(BadInput):
        seal_store(open_store(settings), contents, {})
    store = open_store(sealing)
    # A killed run's copy that is not whole.
    (sealing.store_folder / named[0][:2] / named[0][2:4] / f"{named[0]}.part").write_bytes(b"half")
    assert seal_store(store, named, {}) == 3
    assert list(store.plain_keys()) == [orphan]
    assert sorted(path.suffix for path in sealing.store_folder.glob("??/??/*")) == ["", ".sealed", ".sealed", ".sealed"]
    assert_all_read(store, contents)
    assert seal_store(store, named, {}) == 0


def test_one_command_at_a_time(store: LocalStore) -> None:
    fill(store, 1)
    refused: list[str] = []

    def second(_done: int) -> None:
        with pytest.raises(Conflict):
            rotate(store, {})
        refused.append("yes")

    rotate(store, {}, report=second)
    assert refused


SCRIPT = """
import sys
from pathlib import Path
from readingroom.archive.reseal import rotate, seal_store
from readingroom.archive.store import open_store
from readingroom.core.config import Settings

store = open_store(Settings(home=Path(sys.argv[1]), store_encryption=True))
tell = lambda done: print(done, flush=True)
if sys.argv[2] == "rotate":
    rotate(store, {}, report=tell)
else:
    seal_store(store, set(store.keys(0)), {}, report=tell)
"""


def killed_after(home: Path, what: str, steps: int) -> bool:
    """Run a command and kill -9 it after that many steps; whether it was killed before its end."""
    command = [sys.executable, "-c", SCRIPT, str(home), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(steps):
            if not process.stdout.readline():
                return process.wait() != 0
        process.kill()
    return True


@pytest.mark.parametrize("what", ["rotate", "seal"])
def test_killed_anywhere_every_object_stays_readable(settings: Settings, sealing: Settings, what: str) -> None:
    contents = fill(open_store(sealing if what == "rotate" else settings), 120)
    if what == "rotate":
        # Some from before the store was sealed: a rotation leaves them alone.
        contents |= fill(open_store(settings), 3)
    for steps in (3, 40, 55):
        assert killed_after(sealing.home, what, steps)
        assert_all_read(open_store(sealing), contents)
    assert not killed_after(sealing.home, what, 10_000)
    store = open_store(sealing)
    assert_all_read(store, contents)
    assert store.ring is not None
    assert (len(store.ring.keys()), len(list(store.sealed_keys()))) == (1, 120)


@pytest.mark.parametrize("moment", ["before its header is written", "after its header is written"])
def test_a_rotation_in_the_middle_of_a_put(sealing: Settings, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    store, rotating = open_store(sealing), open_store(sealing)
    contents = fill(store, 2)
    seal, wrap = store_module.seal, ProjectKey.wrap
    rotated = []

    def once() -> None:
        if not rotated:
            rotated.append(True)
            assert rotate(rotating, {}).destroyed == 1

    def seal_slowly(pieces: Iterable[bytes | memoryview], data_key: bytes) -> Iterator[bytes]:
        once()
        yield from seal(pieces, data_key)

    def wrap_slowly(key: ProjectKey, *what: Any) -> bytes:
        once()
        return wrap(key, *what)

    if moment.startswith("before"):
        monkeypatch.setattr(ProjectKey, "wrap", wrap_slowly)
    else:
        monkeypatch.setattr(store_module, "seal", seal_slowly)
    data = os.urandom(3 * CHUNK_BYTES)
    contents[store.put(data)] = data
    assert rotated
    assert_all_read(open_store(sealing), contents)


def test_what_comes_in_during_rotations_is_read_after_them(sealing: Settings) -> None:
    stores = [open_store(sealing) for _ in range(3)]
    contents: list[dict[str, bytes]] = [{} for _ in stores]

    def receive(store: LocalStore, kept: dict[str, bytes]) -> None:
        for _ in range(25):
            data = os.urandom(2 * CHUNK_BYTES)
            kept[store.put(data)] = data

    threads = [threading.Thread(target=receive, args=pair) for pair in zip(stores, contents, strict=True)]
    for thread in threads:
        thread.start()
    rotating = open_store(sealing)
    while any(thread.is_alive() for thread in threads):
        rotate(rotating, {})
    everything = contents[0] | contents[1] | contents[2]
    assert len(everything) == 75
    assert_all_read(open_store(sealing), everything)
