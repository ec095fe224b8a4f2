"""C-STORE: Reading Room's receivers against Orthanc, interleaved on the same files, as ratios of rate and of CPU time.

Ours is the whole path as ``readingroom serve`` runs it: two receiver processes on one port, every object scanned,
hashed, written and synced (file and folder), indexed in SQLite with ``synchronous=FULL``, then acknowledged. Orthanc
is Debian's with its default index, storage and syncing, on the same disk. Three ways of sending:

- the stock dcmtk client, one association;
- four stock dcmtk clients at once;
- four associations of a client that sets TCP_NODELAY and TCP_QUICKACK (``archive.dimse.requestor``), so that neither
  server is held up by the other side's waiting.

Run from the repository: ``python benchmarks/cstore.py --out benchmarks/cstore.md``.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from common import free_port, heading, median, orthanc, wait_for, write_instances
from pydicom.filereader import dcmread

from readingroom.archive.dimse.requestor import Requestor
from readingroom.archive.part10 import unwrap
from readingroom.core.database import Database, upgrade

CT, LITTLE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Server:
    name: str
    aet: str
    port: int
    processes: tuple[psutil.Process, ...]

    def cpu_seconds(self) -> float:
        """CPU time of the server's processes so far."""
        total = 0.0
        for process in self.processes:
            times = process.cpu_times()
            total += times.user + times.system
        return total


@dataclass(frozen=True)
class Measured:
    """Objects a second, and CPU milliseconds of the server an object."""

    rate: float
    cpu_ms: float


@contextmanager
def our_receivers(home: Path, count: int) -> Iterator[Server]:
    """``count`` receiver processes, as the supervisor starts them, on one port."""
    home.mkdir(parents=True)
    port = free_port()
    (home / "config.toml").write_text(f"dicom_port = {port}\ndicom_open = true\n")
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    upgrade(database.engine)
    database.close()
    processes = [
        subprocess.Popen([sys.executable, "-m", "readingroom.cli.process", name, "--home", str(home)])
        for name in ("receive", "receive-2")[:count]
    ]
    try:
        for _ in processes:
            wait_for(lambda: all(_listens(process.pid, port) for process in processes))
        yield Server("Reading Room", "READINGROOM", port, tuple(psutil.Process(p.pid) for p in processes))
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _listens(pid: int, port: int) -> bool:
    connections = psutil.Process(pid).net_connections(kind="tcp")
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


def make_files(folder: Path, associations: int, each: int, seed: int) -> list[list[Path]]:
    """One study an association, its instances alike but for their SOP Instance UIDs."""
    folder.mkdir(parents=True)
    groups = []
    for n, template in enumerate(write_instances(folder, studies=associations, slices=1, seed=seed)):
        data, uid = template.read_bytes(), dcmread(template, stop_before_pixels=True).SOPInstanceUID
        template.unlink()
        group = folder / f"association{n}"
        group.mkdir()
        paths = []
        for number in range(each):
            path = group / f"{number:06}.dcm"
            path.write_bytes(data.replace(uid.encode(), f"{uid[:-9]}{100_000_000 + number}".encode()))
            paths.append(path)
        groups.append(paths)
    return groups


def send_stock(server: Server, groups: Sequence[Sequence[Path]]) -> float:
    """One ``storescu`` for each group, all at once. Returns seconds until the last has ended."""
    began = time.perf_counter()
    clients = [
        subprocess.Popen(["storescu", "-aec", server.aet, "127.0.0.1", str(server.port), "+sd", str(group[0].parent)])
        for group in groups
    ]
    if any(client.wait(600) for client in clients):
        sys.exit(f"storescu failed against {server.name}.")
    return time.perf_counter() - began


def send_nodelay(server: Server, groups: Sequence[Sequence[Path]]) -> float:
    """One association for each group, all at once, with TCP_NODELAY. Returns seconds."""
    start = unwrap(groups[0][0].read_bytes()).dataset_start
    uids = {path: dcmread(path, stop_before_pixels=True).SOPInstanceUID for group in groups for path in group}
    statuses: list[int] = []

    def send(paths: Sequence[Path]) -> None:
        with Requestor(
            "127.0.0.1", server.port, called_aet=server.aet, calling_aet="BENCH",
            contexts=[(CT, LITTLE)], timeout_seconds=60.0,
        ) as requestor:  # fmt: skip
            for path in paths:
                statuses.append(
                    requestor.store(
                        path, start, sop_class_uid=CT, transfer_syntax_uid=LITTLE, sop_instance_uid=uids[path]
                    )
                )

    threads = [threading.Thread(target=send, args=(group,)) for group in groups]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if statuses != [0] * sum(map(len, groups)):
        sys.exit(f"Not every object was accepted by {server.name}.")
    return seconds


WAYS = {
    "stock client, 1 association": (send_stock, 1, 150),
    "stock client, 4 associations": (send_stock, 4, 75),
    "TCP_NODELAY client, 4 associations": (send_nodelay, 4, 250),
}
"""Name -> how to send, associations, objects for each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--receivers", type=int, choices=(1, 2), default=2)
    parser.add_argument("--way", action="append", choices=list(WAYS))
    parser.add_argument("--folder", type=Path, help="where to put data (the same disk for both servers)")
    parser.add_argument("--no-peer", action="store_true", help="measure ours only")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not shutil.which("storescu"):
        sys.exit("storescu is not installed: apt install dcmtk")
    folder = Path(tempfile.mkdtemp(prefix="rr-cstore-", dir=options.folder))
    try:
        text = run(folder, options.rounds, options.receivers, options.way or list(WAYS), peer=not options.no_peer)
    finally:
        shutil.rmtree(folder)
    print(text)
    if options.out:
        options.out.write_text(text)


def run(folder: Path, rounds: int, receivers: int, ways: Sequence[str], *, peer: bool) -> str:
    results: dict[tuple[str, str], list[Measured]] = {}
    with our_receivers(folder / "home", receivers) as ours:
        if peer:
            with orthanc(folder / "orthanc") as (_, port, process):
                other = Server("Orthanc", "ORTHANC", port, (psutil.Process(process.pid),))
                measure([ours, other], folder, rounds, ways, results)
        else:
            measure([ours], folder, rounds, ways, results)
    version = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[
        0
    ]
    client = subprocess.run(["storescu", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[
        0
    ]
    text = heading("C-STORE", "synthetic CT, 512 x 512 x 16 bit, raw, 526 kB an object, new objects each time")
    text += f"Peers: {version}; client {client.strip('$ ')}. {rounds} rounds, interleaved; medians (all rounds).\n"
    text += f"Load average {os.getloadavg()[0]:.1f} at the end (other work on the machine included).\n"
    text += f"Ours: {receivers} receiver process(es). CPU is that of the server's processes.\n\n"
    text += "| way | server | objects/s | CPU ms an object | rate, ratio to Orthanc | CPU, ratio to Orthanc |\n"
    text += "|---|---|---|---|---|---|\n"
    for way in ways:
        for name in ("Reading Room", "Orthanc"):
            if (way, name) in results:
                text += _row(way, name, results)
    return text


def measure(
    servers: Sequence[Server],
    folder: Path,
    rounds: int,
    ways: Sequence[str],
    results: dict[tuple[str, str], list[Measured]],
) -> None:
    for number in range(rounds):
        for position, way in enumerate(ways):
            send, associations, each = WAYS[way]
            groups = make_files(folder / "files", associations, each, seed=100 * number + position)
            # Who goes first changes, so that neither always meets the other's writes still going to disk.
            for server in servers if number % 2 == 0 else reversed(servers):
                # Nothing that was written before may be on its way to the disk meanwhile.
                os.sync()
                before = server.cpu_seconds()
                seconds = send(server, groups)
                count = sum(map(len, groups))
                cpu_ms = 1000.0 * (server.cpu_seconds() - before) / count
                results.setdefault((way, server.name), []).append(Measured(count / seconds, cpu_ms))
                print(f"{way}: {server.name} {count / seconds:.0f}/s, {cpu_ms:.2f} ms CPU", file=sys.stderr, flush=True)
                time.sleep(1.0)
            shutil.rmtree(folder / "files")


def _row(way: str, name: str, results: dict[tuple[str, str], list[Measured]]) -> str:
    runs = results[way, name]
    rate, cpu = median([m.rate for m in runs]), median([m.cpu_ms for m in runs])
    every = ", ".join(f"{m.rate:.0f}" for m in runs)
    row = f"| {way} | {name} | {rate:.0f} ({every}) | {cpu:.2f} |"
    peers = results.get((way, "Orthanc"))
    if name == "Orthanc" or not peers:
        return row + " | |\n"
    peer_rate, peer_cpu = median([m.rate for m in peers]), median([m.cpu_ms for m in peers])
    return row + f" **{rate / peer_rate:.1f}x** | **{cpu / peer_cpu:.2f}x** |\n"


if __name__ == "__main__":
    main()
