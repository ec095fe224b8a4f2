"""What the fuzz targets share: an archive of their own in memory, mutation that keeps a length true, and the loop.

A target is one function of bytes. It may raise nothing: what the code under test is allowed to raise is caught in the
target, so that everything else ends the run with the input that did it. Coverage guides the mutation (atheris).
"""

import itertools
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import atheris

REPLAY = "--replay"
# Coverage is seen only in what is imported here. A replay goes without: what atheris puts into the code keeps alive
# every object that is compared there, which would hide a leak of ours among its own.
with nullcontext() if REPLAY in sys.argv else atheris.instrument_imports(include=["readingroom.archive", "zipfile"]):
    from readingroom.archive import importer, qido, stow, wado  # noqa: F401
    from readingroom.archive.dimse import association, commands, pdu  # noqa: F401
    from readingroom.archive.receive import Archive
    from readingroom.archive.store import LocalStore
    from readingroom.core.config import Settings
    from readingroom.core.database import Database, upgrade
    from readingroom.web import dicomweb_routes  # noqa: F401

RENEW_EVERY = 10**9 if REPLAY in sys.argv else 2000
"""Executions after which the archive is made anew, as searches slow down in a large one; a replay keeps its own."""
MAX_BYTES = 64 << 10


class House:
    """An archive under ``folder``, made anew every ``RENEW_EVERY`` uses."""

    def __init__(self) -> None:
        # In memory where there is such a folder: a million syncs would only test the disk.
        memory = Path("/dev/shm")
        self._temporary = tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)
        self._folder = Path(self._temporary.name)
        self._uses = 0
        self._empty = self._folder / "empty.sqlite"
        self._make_empty()
        self._database: Database | None = None
        self._archive: Archive | None = None

    @property
    def archive(self) -> Archive:
        if self._archive is None or self._uses >= RENEW_EVERY:
            self._renew()
        self._uses += 1
        assert self._archive is not None
        return self._archive

    def _make_empty(self) -> None:
        # Once: every run of the migrations loads them anew, which would look like a leak.
        database = Database(f"sqlite:///{self._empty}")
        upgrade(database.engine)
        database.close()

    def _renew(self) -> None:
        if self._database is not None:
            self._database.close()
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        self._uses = 0
        settings = Settings(
            home=home,
            dicom_open=True,
            max_object_bytes=1 << 20,
            max_upload_bytes=4 << 20,
            max_unpacked_bytes=4 << 20,
            association_idle_seconds=2,
            min_free_bytes=0,
        )
        settings.work_folder.mkdir()
        shutil.copyfile(self._empty, home / "index.sqlite")
        self._database = Database(settings.index_url)
        self._archive = Archive(settings, self._database, LocalStore(settings.store_folder))


def mutate_framed(data: bytes, frames: list[tuple[int, int, int]], seed: int, max_size: int) -> bytes:
    """Mutate the body of one of ``frames`` (start of the body, its length, bytes of the big-endian length before it).

    The length is put right most of the time: a wrong length alone is soon found, and hides what lies behind it.
    """
    chance = random.Random(seed)
    start, length, width = chance.choice(frames)
    body = atheris.Mutate(bytes(data[start : start + length]), max(1, max_size - len(data) + length))
    head = bytearray(data[:start])
    if chance.random() < 0.9:
        head[-width:] = len(body).to_bytes(width, "big")
    return (bytes(head) + body + bytes(data[start + length :]))[:max_size]


def run(target: Callable[[bytes], None], seeds: Iterable[bytes], mutate: Callable[..., bytes] | None = None) -> None:
    """Fuzz ``target`` until a limit on the command line (libFuzzer's) is reached. ``argv[1]``: the corpus' folder.

    With ``--replay SECONDS`` instead of limits: go through the corpus again and again, to watch memory.
    """
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    logging.disable(logging.CRITICAL)
    if REPLAY in sys.argv:
        end = time.monotonic() + float(sys.argv[sys.argv.index(REPLAY) + 1])
        inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
        for data in itertools.cycle(inputs):
            if time.monotonic() > end:
                return
            target(data)
    atheris.Setup(sys.argv, target, custom_mutator=mutate)
    atheris.Fuzz()
