"""Time and peak memory of the lung-nodule reader on a folder of DICOM, from files to objects, in a child process.

Run: python benchmarks/read_ct.py FOLDER [--threads 2]. Prints one JSON object: wall and CPU seconds of the whole child
(interpreter start included), its peak resident memory, and the reader's own steps.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        code = "import sys; from readingroom.cli.main import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "read", str(options.folder), "--reader", "lung-nodule", "--json"]
        threads = str(options.threads)
        environment = {**os.environ, "READINGROOM_READER_THREADS": threads, "OMP_NUM_THREADS": threads}
        started = time.monotonic()
        done = subprocess.run([*command, "--out", out], env=environment, capture_output=True, text=True)
        wall = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    reading = json.loads(done.stdout.splitlines()[0])
    result = {
        "wall_s": round(wall, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        # Kilobytes on Linux, bytes on macOS.
        "peak_mib": round(used.ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20), 0),
        "steps_s": reading["seconds"],
        "state": reading["state"],
        "findings": len(reading["findings"]),
        "slices": reading["input_statistics"].get("slices"),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[1], 2),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": options.threads,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
