"""What a sealed store and TLS cost: CPU of the receiving process for each object, and of reading an object and a frame.

The same receiver process four times, as ``readingroom serve`` runs it: plain, with ``store_encryption``, with TLS, with
both; rounds interleaved, one association of our own client. Then, in one process, a plain and a sealed store: read a
whole object, read a frame's range.

``python benchmarks/sealing.py [--rounds 5] [--objects 150] --out benchmarks/sealing.md``
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from common import free_port, heading, median, wait_for
from cstore import CT, LITTLE, make_files
from pydicom.filereader import dcmread

from readingroom.archive.dimse.requestor import Requestor
from readingroom.archive.part10 import unwrap
from readingroom.archive.store import open_store
from readingroom.core.certificates import CLIENT, SERVER, Pair, authority, issue
from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.tls import client_context

FRAME_BYTES = 512 * 512 * 2


@dataclass(frozen=True)
class Way:
    name: str
    sealed: bool
    tls: bool


WAYS = (
    Way("plain", False, False),
    Way("sealed store", True, False),
    Way("TLS", False, True),
    Way("both", True, True),
)


@contextmanager
def receiver(home: Path, way: Way) -> Iterator[tuple[int, psutil.Process]]:
    """One receiver; yields the port that this way speaks on, and the process."""
    home.mkdir(parents=True)
    plain, secure = free_port(), free_port()
    lines = [f"dicom_port = {plain}", "dicom_open = true", f"store_encryption = {str(way.sealed).lower()}"]
    if way.tls:
        server = issue(home / "tls", "server", SERVER, ["127.0.0.1"])
        issue(home / "tls", "bench", CLIENT, ["bench"])
        lines += [f"dicom_tls_port = {secure}", f'dicom_tls_certificate = "{server.certificate}"']
        lines += [f'dicom_tls_key = "{server.key}"', f'dicom_tls_ca = "{authority(home / "tls").certificate}"']
    (home / "config.toml").write_text("\n".join(lines) + "\n")
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    upgrade(database.engine)
    database.close()
    process = subprocess.Popen([sys.executable, "-m", "readingroom.cli.process", "receive", "--home", str(home)])
    wanted = {plain, secure} if way.tls else {plain}
    looked_at = psutil.Process(process.pid)
    try:
        wait_for(lambda: wanted <= {c.laddr.port for c in looked_at.net_connections(kind="tcp")})
        yield (secure if way.tls else plain), looked_at
    finally:
        process.terminate()
        process.wait(20)


def send(home: Path, way: Way, port: int, process: psutil.Process, paths: list[Path]) -> float:
    """Send the files; return CPU milliseconds of the receiver for each."""
    context = None
    if way.tls:
        pair = Pair.of(home / "tls", "bench")
        context = client_context(authority(home / "tls").certificate, pair.certificate, pair.key)
    start = unwrap(paths[0].read_bytes()).dataset_start
    uids = [dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]
    before = cpu_seconds(process)
    with Requestor(
        "127.0.0.1", port, called_aet="READINGROOM", calling_aet="BENCH", contexts=[(CT, LITTLE)],
        timeout_seconds=60.0, tls=context,
    ) as requestor:  # fmt: skip
        for path, uid in zip(paths, uids, strict=True):
            status = requestor.store(path, start, sop_class_uid=CT, transfer_syntax_uid=LITTLE, sop_instance_uid=uid)
            if status:
                sys.exit(f"An object was answered {status:04X}H.")
    return 1000 * (cpu_seconds(process) - before) / len(paths)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def own_cpu_ms(work: Callable[[], object], times: int) -> float:
    """CPU milliseconds of this process for each call."""
    work()
    begun = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - begun) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=150)
    parser.add_argument("--folder", type=Path, help="where to put data")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rr-sealing-", dir=options.folder) as name:
        text = run(Path(name), options.rounds, options.objects)
    print(text)
    if options.out:
        options.out.write_text(text)


def run(folder: Path, rounds: int, objects: int) -> str:
    received: dict[str, list[float]] = {way.name: [] for way in WAYS}
    for number in range(rounds):
        for position, way in enumerate(WAYS):
            at = folder / f"{number}-{position}"
            (paths,) = make_files(at / "files", 1, objects, seed=100 * number + position)
            with receiver(at / "home", way) as (port, process):
                # The first objects pay for what is made once: series, folders, keys.
                send(at / "home", way, port, process, paths[:10])
                received[way.name].append(send(at / "home", way, port, process, paths[10:]))
    kept: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for number in range(rounds):
        for sealed in (False, True):
            kept[sealed].append(stores(folder / f"store-{number}-{sealed}", sealed, objects))
    text = heading("Sealing", "synthetic CT, 512 x 512 x 16 bit, raw, 526 kB an object; CPU time, not the clock's")
    text += f"{rounds} rounds, interleaved; medians (all rounds). Load average {os.getloadavg()[0]:.1f} at the end.\n\n"
    text += "| receiving one object | CPU ms | more than plain, ms |\n|---|---|---|\n"
    base = median(received["plain"])
    for way in WAYS:
        values = received[way.name]
        every = ", ".join(f"{value:.2f}" for value in values)
        more = "" if way.name == "plain" else f"{median(values) - base:+.2f}"
        text += f"| {way.name} | {median(values):.2f} ({every}) | {more} |\n"
    text += "\n| the store alone | plain, CPU ms | sealed, CPU ms |\n|---|---|---|\n"
    for what in kept[False][0]:
        plain, sealed_ms = (median([one[what] for one in kept[sealed]]) for sealed in (False, True))
        text += f"| {what} | {plain:.3f} | {sealed_ms:.3f} |\n"
    return text


def stores(home: Path, sealed: bool, objects: int) -> dict[str, float]:
    home.mkdir()
    store = open_store(Settings(home=home, store_encryption=sealed))
    data = os.urandom(FRAME_BYTES + 2000)
    keys = [store.put(data) for _ in range(objects)]
    turns = iter(keys * 20)
    return {
        "read whole": own_cpu_ms(lambda: store.read(next(turns)), objects * 3),
        "read a frame (524 kB)": own_cpu_ms(lambda: store.read(next(turns), 1800, FRAME_BYTES), objects * 3),
        "read 16 kB in the middle": own_cpu_ms(lambda: store.read(next(turns), 200_000, 16384), objects * 3),
    }


if __name__ == "__main__":
    main()
