"""``python -m benchmarks.fuzz [--minutes N] [TARGET ...]``: fuzz the targets side by side, and write what came of it.

An input that crashes, hangs (20 s) or takes 2 GiB ends its run and is kept in the work folder; the exit status is 1.
After it the inputs that reached new code are replayed for a tenth of the time, without the fuzzer's instruments (they
leak), and memory is watched: its median over the last tenth of the replay against that after the first tenth. Results
go to ``results.md`` beside this file. What is found becomes a test in ``tests/``.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import heading

FOLDER = Path(__file__).parent
WORK = FOLDER.parent / "work" / "fuzz"
TARGETS = ("receive", "dicomweb", "zip_import")


@dataclass(frozen=True)
class Outcome:
    target: str
    seconds: float
    executions: int
    coverage: int
    first_mib: float
    last_mib: float
    found: tuple[str, ...]

    @property
    def row(self) -> str:
        found = ", ".join(self.found) or "nothing"
        return (
            f"| {self.target} | {self.seconds / 60:.0f} | {self.executions:,} | {self.coverage:,} "
            f"| {self.first_mib:.0f} -> {self.last_mib:.0f} | {found} |"
        )


def fuzz(target: str, minutes: float) -> Outcome:
    """Run one target in a process of its own, then replay what it found worth keeping in another."""
    work = WORK / target
    (work / "found").mkdir(parents=True, exist_ok=True)
    before = set((work / "found").iterdir())
    started = time.monotonic()
    limits = [
        f"-max_total_time={int(minutes * 60)}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=65536",
        "-print_final_stats=1",
        f"-artifact_prefix={work / 'found'}{os.sep}",
    ]
    status, _ = _run(target, limits, "log")
    seconds = time.monotonic() - started
    told = (work / "log").read_text("utf-8", errors="replace")
    executions = re.findall(r"stat::number_of_executed_units:\s+(\d+)", told) or re.findall(r"^#(\d+)", told, re.M)
    coverage = re.findall(r"cov: (\d+)", told)
    new = {path.name for path in set((work / "found").iterdir()) - before}
    # A slow unit is one that took 10 s: libFuzzer keeps it, but on a busy machine it says little.
    found = sorted(name for name in new if not name.startswith("slow-unit"))
    replayed, memory = _run(target, ["--replay", str(minutes * 6)], "replay-log")
    if (status or replayed) and not found:
        found = [f"exit status {status or replayed}: see the log in the work folder"]
    tenth = max(1, len(memory) // 10)
    return Outcome(
        target,
        seconds,
        int(executions[-1]) if executions else 0,
        int(coverage[-1]) if coverage else 0,
        statistics.median(memory[tenth : 2 * tenth] or [0]),
        statistics.median(memory[-tenth:] or [0]),
        tuple(found),
    )


def _run(target: str, arguments: list[str], log_name: str) -> tuple[int, list[float]]:
    """Return the exit status and the memory (MiB) every two seconds."""
    work = WORK / target
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(FOLDER.parent.parent), str(FOLDER)))}
    command = [sys.executable, str(FOLDER / f"{target}.py"), str(work / "corpus"), *arguments]
    memory: list[float] = []
    with (work / log_name).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                memory.append(seen.memory_info().rss / 2**20)
            if len(memory) % 150 == 0:
                print(f"{target}: {len(memory) // 30} min, {memory[-1]:.0f} MiB ({log_name})", flush=True)
            time.sleep(2)
        return process.wait(), memory


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description="Fuzz what strangers' bytes reach.")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[], metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=60, help="for each target (60)")
    options = parser.parse_args()
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(lambda target: fuzz(target, options.minutes), options.targets or TARGETS))
    lines = [
        heading("Fuzzing", "what each target makes for a start, and mutations of it that reach new code"),
        "| target | minutes | inputs tried | coverage (edges) | memory in replay, MiB | found |",
        "|---|---|---|---|---|---|",
        *(outcome.row for outcome in outcomes),
        "",
    ]
    print("\n".join(lines))
    (FOLDER / "results.md").write_text("\n".join(lines), "utf-8")
    return 1 if any(outcome.found for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
