"""``python benchmarks/audit_chain.py``: eight processes write 10,000 audit events each, on SQLite and on PostgreSQL.

Each event is a transaction of its own, as most are. Afterwards the whole chain is verified: not one fork, nothing lost,
each writer's events in its order. Then one event is altered and must be found.
"""

import argparse
import multiprocessing
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import free_port, heading, median, percentile
from sqlalchemy import select, text

from readingroom.access.audit.chain import verify
from readingroom.access.audit.seals import read_file, seal_head
from readingroom.core.audit import AuditCode, AuditEvent, record
from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.secrets import load_secrets


def write(url: str, writer: int, each: int, start: object, results: object) -> None:
    """One writer: ``each`` transactions of one event; puts how long each took."""
    database = Database(url)
    start.wait()  # type: ignore[attr-defined]
    took = []
    for n in range(each):
        begun = time.perf_counter()
        with database.write() as session:
            record(session, AuditCode.INSTANCES_ACCESSED, "study-opened", f"writer-{writer}", detail={"n": n})
        took.append(time.perf_counter() - begun)
    database.close()
    results.put(took)  # type: ignore[attr-defined]


def measure(url: str, home: Path, writers: int, each: int) -> dict[str, float]:
    """Run the writers, verify what they wrote, alter one event. Exits where anything is not as it must be."""
    settings = Settings(home=home, database_url=url)
    database = Database(url)
    upgrade(database.engine)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(writers + 1), context.Queue()
    processes = [context.Process(target=write, args=(url, w, each, start, results)) for w in range(writers)]
    for process in processes:
        process.start()
    start.wait()
    begun = time.perf_counter()
    took = [seconds for _ in processes for seconds in results.get()]
    seconds = time.perf_counter() - begun
    for process in processes:
        process.join()
    seal_head(settings, database)
    box, file = load_secrets(settings), read_file(settings.audit_seals_file)
    begun = time.perf_counter()
    with database.read() as session:
        found = verify(session, box, file)
    verifying = time.perf_counter() - begun
    if found.problem or found.events != writers * each:
        sys.exit(f"The chain is not whole: {found}")
    with database.read() as session:
        rows = session.execute(select(AuditEvent.actor, AuditEvent.detail).order_by(AuditEvent.id)).all()
    for writer in range(writers):
        if [detail["n"] for actor, detail in rows if actor == f"writer-{writer}"] != list(range(each)):
            sys.exit(f"Events of writer {writer} are lost, doubled or out of order.")
    altered = writers * each // 3
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER audit_event_no_update"))
        else:
            connection.execute(text("ALTER TABLE audit_event DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE audit_event SET outcome = 'failure' WHERE id = :n"), {"n": altered})
    with database.read() as session:
        if verify(session, box, file).first_wrong != altered:
            sys.exit("An altered event was not found.")
    database.close()
    return {
        "rate": len(took) / seconds,
        "median": median(took) * 1000,
        "late": percentile(took, 0.99) * 1000,
        "verify": len(took) / verifying,
    }


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own on loopback, with its durable settings: yields the URL of an empty database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        sys.exit("PostgreSQL is not installed: apt install postgresql")
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, -1)
    port = free_port()

    def run(name: str, *arguments: str) -> None:
        command = [str(found[-1].parent / name), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run("initdb", "-A", "trust", "-U", "rr", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://rr@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--each", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="audit-", dir=options.folder))
    folder.chmod(0o755)
    lines = []
    try:
        for name in ("SQLite", "PostgreSQL"):
            home = folder / name
            home.mkdir()
            print(f"{name} ...", flush=True)
            if name == "SQLite":
                found = measure(f"sqlite:///{home / 'index.sqlite'}", home, options.writers, options.each)
            else:
                (folder / "pg").mkdir()
                with postgres(folder / "pg") as url:
                    found = measure(url, home, options.writers, options.each)
            cells = (f"{found['rate']:.0f}", f"{found['median']:.1f}", f"{found['late']:.1f}", f"{found['verify']:.0f}")
            lines.append(f"| {' | '.join([name, *cells])} |")
            print(lines[-1], flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    data = f"{options.writers} processes x {options.each} events, each in a transaction of its own, synced to disk"
    options.out.write_text(
        heading("The audit's chain", data)
        + f"Load average {os.getloadavg()[0]:.1f} at the end (other work on the machine included).\n\n"
        "| database | events/s | median ms | 99th percentile ms | verified events/s |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\nBoth chains: {options.writers * options.each} events, no fork, none lost or doubled, each\n"
        "writer's in its order; one altered event found and named.\n\n"
        "## How to read this\n"
        "Every event here is a commit that waits for the disk, one after the other: the rate is that of the disk and\n"
        "of the turns the writers take. Eight writers that never pause starve each other on SQLite, whose waiting\n"
        "sleeps; the 99th percentile says how long. An event in the transaction of the deed it tells of costs\n"
        "one more insert. No image pays for any: an association that brings a study writes three events in two\n"
        "transactions, however many images there are.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
