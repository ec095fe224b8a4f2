"""Time from the last image to the finding on the worklist, split by step, and idle memory of all processes.

``python benchmarks/first_light.py [--study FOLDER]`` sends a chest CT (simulated unless FOLDER is given) by
``storescu`` to a fresh ``readingroom serve``, waits for the reading, and writes ``benchmarks/first_light.md``.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil
from common import heading, reading_room, wait_for
from sqlalchemy import func, select

from readingroom.archive.tables import Instance, Study, StudyRevision
from readingroom.core.config import load_settings
from readingroom.core.database import Database
from readingroom.imaging.simulate import write_chest_ct
from readingroom.readers.tables import ReadingRow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path)
    args = parser.parse_args()
    storescu = shutil.which("storescu") or sys.exit("apt install dcmtk")
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as name:
        home = Path(name) / "home"
        folder = args.study
        if folder is None:
            folder = Path(name) / "in"
            write_chest_ct(folder)
        files = sum(1 for path in folder.iterdir() if path.suffix == ".dcm")
        with reading_room(home) as ports:
            time.sleep(10)
            idle = memory(ports["pid"])
            start = time.monotonic()
            subprocess.run(
                [
                    storescu,
                    "-xt",
                    "-aec",
                    "READINGROOM",
                    "+sd",
                    "+sp",
                    "*.dcm",
                    "127.0.0.1",
                    str(ports["dicom"]),
                    str(folder),
                ],
                check=True,
            )
            sent = time.monotonic() - start
            database = Database(f"sqlite:///{home / 'index.sqlite'}")
            wait_for(lambda: finished(database), 300)
            rows = steps(database)
        quiet = load_settings(home).quiet_seconds
    table = [
        heading(
            "From the last image to the finding",
            f"{'simulated chest CT' if args.study is None else args.study.name}, {files} images, sent in {sent:.1f} s "
            f"by stock storescu, quiet time {quiet:g} s",
        ),
        "| step | seconds |",
        "|---|---|",
        *rows,
        "",
        f"Idle memory of all processes before the study: {idle[0]:.0f} MiB proportional set size, {idle[1]:.0f} MiB "
        f"summed resident size, {idle[2]} processes.",
        "",
    ]
    target = "first_light.md" if args.study is None else "first_light_real.md"
    (Path(__file__).parent / target).write_text("\n".join(table))
    print("\n".join(table))


def memory(pid: int) -> tuple[float, float, int]:
    """Return summed PSS and RSS in MiB of a process and all below it, and how many they are."""
    root = psutil.Process(pid)
    processes = [root, *root.children(recursive=True)]
    pss = sum(getattr(p.memory_full_info(), "pss", p.memory_info().rss) for p in processes)
    return pss / 2**20, sum(p.memory_info().rss for p in processes) / 2**20, len(processes)


def finished(database: Database) -> bool:
    """Whether the study has been read by every reader that applies."""
    with database.read() as session:
        return session.scalar(select(Study.state)) == "read"


def steps(database: Database) -> list[str]:
    """Rows of the table: each step with its seconds, from the times the index keeps."""

    def between(start: datetime | None, end: datetime | None) -> float:
        return (end - start).total_seconds() if start and end else float("nan")

    with database.read() as session:
        study = session.scalars(select(Study)).one()
        revision = session.scalars(select(StudyRevision).order_by(StudyRevision.number.desc())).first()
        assert revision is not None
        readings = session.scalars(select(ReadingRow).where(ReadingRow.started_at.is_not(None))).all()
        rows = [
            f"| last image acknowledged -> study ready (quiet time included) | "
            f"{between(study.last_received_at, revision.created_at):.2f} |"
        ]
        for row in readings:
            begun = between(revision.created_at, row.started_at)
            rows.append(f"| ready -> {row.reader} begins (typing, quality) | {begun:.2f} |")
            rows.append(f"| {row.reader} {row.version}: {row.state} | {between(row.started_at, row.finished_at):.2f} |")
            seconds = dict((row.body or {})["seconds"])
            # What the reader does not count itself: its process starts, decodes and types the series again.
            start = between(row.started_at, row.finished_at) - seconds.pop("total")
            rows += [
                f"| &nbsp;&nbsp;of it {step} | {spent:.2f} |"
                for step, spent in {"start, decoding, typing": start, **seconds}.items()
            ]
            rows.append(f"| **last image -> finding** | **{between(study.last_received_at, row.finished_at):.2f}** |")
        objects = session.scalar(select(func.max(Instance.received_at)).where(Instance.origin == "reader"))
        last = max((row.finished_at for row in readings if row.finished_at), default=None)
        rows.append(f"| afterwards: SEG and SR written and stored | {between(last, objects):.2f} |")
    return rows


if __name__ == "__main__":
    main()
