"""What the benchmarks share: synthetic CT instances, a peer Orthanc on loopback, percentiles, the heading of a result.

Every benchmark runs Reading Room and its peer in one run on the same machine and data, interleaved, and quotes ratios:
absolute figures of a shared machine mean little.
"""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from readingroom.access.accounts import create_account
from readingroom.access.projects import DEFAULT_NAME
from readingroom.core.config import load_settings
from readingroom.core.database import Database, upgrade
from readingroom.core.ids import derived_uid
from readingroom.core.permissions import Role


def free_port() -> int:
    """Return a loopback TCP port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_instances(folder: Path, *, studies: int, slices: int, rows: int = 512, seed: int = 0) -> list[Path]:
    """Write ``studies`` x ``slices`` synthetic CT instances (rows x rows, 16 bit, raw) of invented patients."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 2000, (rows, rows), dtype=np.uint16)
    paths = []
    for study in range(studies):
        for number in range(1, slices + 1):
            ds = Dataset()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
            uid = derived_uid("benchmark", str(seed), str(study), str(number))
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid
            ds.StudyInstanceUID = derived_uid("benchmark study", str(seed), str(study))
            ds.SeriesInstanceUID = derived_uid("benchmark series", str(seed), str(study))
            ds.FrameOfReferenceUID = derived_uid("benchmark frame", str(seed), str(study))
            ds.PatientID, ds.PatientName = f"BENCH{study:05}", f"Benchmark^Number{study:05}"
            ds.PatientBirthDate, ds.PatientSex = "19500101", "O"
            ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260101", "101500", f"A{study:05}", "1"
            ds.ReferringPhysicianName, ds.StudyDescription, ds.SeriesDescription = "", "CT abdomen", "Axial"
            ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = "CT", 1, number, "Benchmark"
            ds.BodyPartExamined, ds.PatientPosition = "ABDOMEN", "HFS"
            ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            ds.ImagePositionPatient = [-200.0, -200.0, 2.0 * number]
            ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.78, 0.78], 2.0, 120
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.Rows = ds.Columns = rows
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
            ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
            ds.PixelData = np.roll(noise, number + study, axis=0).tobytes()
            path = folder / f"{study:05}-{number:05}.dcm"
            ds.save_as(path, enforce_file_format=True)
            paths.append(path)
    return paths


@contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, int, subprocess.Popen[bytes]]]:
    """Debian's Orthanc with DICOMweb on free loopback ports: yields (HTTP port, DICOM port, process)."""
    program = shutil.which("Orthanc")
    if not program:
        sys.exit("Orthanc is not installed: apt install orthanc orthanc-dicomweb")
    folder.mkdir(parents=True, exist_ok=True)
    http, dicom = free_port(), free_port()
    plugins = [str(p) for p in Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb.so*")]
    config = {
        "Name": "PEER", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True,
        "Plugins": plugins, "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "StorageCompression": False,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{http}/system").status_code == 200)
        yield http, dicom, process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def reading_room(
    home: Path, *, config: str = "", environment: dict[str, str] | None = None
) -> Iterator[dict[str, int]]:
    """``readingroom serve`` on free loopback ports with a service account: yields its ports.

    The account is ``bench``, its password ``bench-password-1``, its studies those of the project where they arrive.
    The dictionary has ``web``, ``viewer``, ``dicom`` and ``pid``.
    """
    home.mkdir(parents=True, exist_ok=True)
    ports = {"web": free_port(), "viewer": free_port(), "dicom": free_port()}
    lines = [f"web_port = {ports['web']}", f"viewer_port = {ports['viewer']}", f"dicom_port = {ports['dicom']}"]
    (home / "config.toml").write_text("\n".join([*lines, "dicom_open = true", config]))
    database = Database(load_settings(home).index_url)
    upgrade(database.engine)
    with database.write() as session:
        create_account(session, "bench", "bench-password-1", Role.SERVICE, projects={DEFAULT_NAME: Role.SERVICE})
    database.close()
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "readingroom"), "serve", "--home", str(home)],
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
    try:
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{ports['web']}/health").status_code == 200)
        wait_for(lambda: socket.create_connection(("127.0.0.1", ports["dicom"]), 1).close() is None)
        yield {**ports, "pid": process.pid}
    finally:
        process.terminate()
        process.wait(30)


def wait_for(ready: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll ``ready`` (an exception counts as not yet) until it is true; exit with a sentence when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():
                return
        except (OSError, httpx.HTTPError):
            pass
        time.sleep(0.1)
    sys.exit(f"Not ready after {seconds:.0f} s.")


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the value at ``fraction`` (0..1) of the sorted ``values``."""
    return sorted(values)[min(len(values) - 1, int(fraction * len(values)))]


def heading(title: str, data: str) -> str:
    """The head of a results page: date, machine, command, data, versions."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    command = " ".join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    return (
        f"# {title}\n\nDate: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Machine: {os.cpu_count()} cores ({model}), "
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}; shared, so trust the ratios.\n"
        f"Data: {data}\nCommand: `{command}`\n"
    )


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(values))
