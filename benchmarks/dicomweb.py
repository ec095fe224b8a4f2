"""QIDO-RS and WADO-RS against Orthanc on the same instances, request by request in turn.

``python benchmarks/dicomweb.py [--studies 20] [--slices 100] [--repeat 40]`` writes ``benchmarks/dicomweb.md``.
Reading Room checks an account on every request (HTTP Basic); Orthanc runs without accounts.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from common import heading, orthanc, percentile, reading_room, wait_for, write_instances
from sqlalchemy import func, select

from readingroom.archive.tables import InstanceJson
from readingroom.core.config import load_settings
from readingroom.core.database import Database
from readingroom.core.ids import derived_uid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        paths = write_instances(folder / "in", studies=args.studies, slices=args.slices)
        print(f"{len(paths)} instances written")
        with orthanc(folder / "orthanc") as (peer_http, _, _), reading_room(folder / "home") as ports:
            ours = httpx.Client(
                base_url=f"http://127.0.0.1:{ports['web']}/dicomweb", auth=("bench", "bench-password-1"), timeout=120
            )
            theirs = httpx.Client(base_url=f"http://127.0.0.1:{peer_http}/dicom-web", timeout=120)
            for path in paths:
                httpx.post(f"http://127.0.0.1:{peer_http}/instances", content=path.read_bytes()).raise_for_status()
            storescu = shutil.which("storescu") or sys.exit("apt install dcmtk")
            subprocess.run(
                [storescu, "-aec", "READINGROOM", "+sd", "127.0.0.1", str(ports["dicom"]), str(folder / "in")],
                check=True,
            )
            print("loaded; waiting for headers to be rendered")
            wait_for(lambda: rendered(folder / "home") == len(paths), 600)
            rows = [measure(ours, theirs, label, path, headers, args.repeat) for label, path, headers in requests(args)]
    table = [
        heading("DICOMweb against Orthanc", f"{len(paths)} synthetic CT instances 512 x 512, {args.studies} studies"),
        "| request | bytes | Reading Room p50 / p95 ms | Orthanc 1.10.1 p50 / p95 ms | Orthanc / ours (p50) |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    (Path(__file__).parent / "dicomweb.md").write_text("\n".join(table))
    print("\n".join(table))


def rendered(home: Path) -> int:
    """How many instances have their JSON, which is made after they were acknowledged."""
    database = Database(load_settings(home).index_url)
    with database.read() as session:
        count = session.scalar(select(func.count()).select_from(InstanceJson)) or 0
    database.close()
    return count


def requests(args: argparse.Namespace) -> list[tuple[str, str, dict[str, str]]]:
    """Label, path, headers of each request; they ask for the study in the middle and its middle slice."""
    number = str(args.studies // 2)
    study, series = derived_uid("benchmark study", "0", number), derived_uid("benchmark series", "0", number)
    instance = derived_uid("benchmark", "0", number, str((args.slices + 1) // 2))
    json_headers = {"Accept": "application/dicom+json"}
    multipart = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
    return [
        ("QIDO studies, exact PatientID", f"/studies?PatientID=BENCH{int(number):05}", json_headers),
        ("QIDO studies, PatientName wildcard", "/studies?PatientName=Benchmark*", json_headers),
        ("QIDO instances of a series", f"/studies/{study}/series/{series}/instances", json_headers),
        ("series metadata", f"/studies/{study}/series/{series}/metadata", json_headers),
        ("one frame", f"/studies/{study}/series/{series}/instances/{instance}/frames/1", {"Accept": multipart}),
        (
            "whole series",
            f"/studies/{study}/series/{series}",
            {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        ),
    ]


def measure(
    ours: httpx.Client, theirs: httpx.Client, label: str, path: str, headers: dict[str, str], repeat: int
) -> str:
    """Send the request to both in turn and return a row of the table."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    size = 0
    for n in range(repeat + 3):
        for who, client in (("ours", ours), ("theirs", theirs)):
            start = time.perf_counter()
            response = client.get(path, headers=headers)
            elapsed = (time.perf_counter() - start) * 1000
            response.raise_for_status()
            if n >= 3:
                times[who].append(elapsed)
            if who == "ours":
                size = len(response.content)
    p = {who: (percentile(values, 0.5), percentile(values, 0.95)) for who, values in times.items()}
    return (
        f"| {label} | {size} | {p['ours'][0]:.1f} / {p['ours'][1]:.1f} | {p['theirs'][0]:.1f} / {p['theirs'][1]:.1f} "
        f"| {p['theirs'][0] / p['ours'][0]:.1f} |"
    )


if __name__ == "__main__":
    main()
