"""Files of one series to a volume in HU: Reading Room against pydicom, in turn, in one run.

``python benchmarks/volume.py [--slices 300] [--repeat 5]`` writes ``benchmarks/volume.md``. Both read the same warm
files; pydicom's way is the usual one: ``dcmread``, sort by position, ``pixel_array``, slope and intercept, stack.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import heading, median
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from readingroom.imaging.phantom import DEFAULT_NODULES
from readingroom.imaging.series import read_series
from readingroom.imaging.simulate import write_chest_ct

SYNTAXES = {
    "uncompressed": ExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="rr-bench-") as name:
        study = write_chest_ct(Path(name) / "in", slices=args.slices, nodules=DEFAULT_NODULES)
        print(f"{len(study.files)} slices written")
        for label, syntax in SYNTAXES.items():
            # Slow codecs get fewer slices; the figures are a megabyte anyway.
            count = args.slices if syntax in (ExplicitVRLittleEndian, RLELossless) else max(20, args.slices // 5)
            paths = recompress(study.files[:count], Path(name) / label, syntax)
            rows.append(compare(label, paths, args.repeat))
            print(rows[-1])
    data = f"simulated chest CT, {args.slices} slices 512 x 512, 16 bits (a fifth of them for JPEG-LS and JPEG 2000)"
    table = [
        heading("A series to a volume, against pydicom", data),
        "Median of the runs; MB are of the volume (2 bytes a voxel). Both results were compared: every voxel equal. "
        f"Load average at the end: {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores (above that number the "
        "absolute figures are low; the ways run in turn, so the ratios hold).\n",
        "| transfer syntax | 1 thread MB/s | 2 threads MB/s | pydicom MB/s | ours / pydicom |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    (Path(__file__).parent / "volume.md").write_text("\n".join(table))
    print("\n".join(table))


def recompress(files: tuple[Path, ...], folder: Path, syntax: str) -> list[Path]:
    """Copies of the files in another transfer syntax, in the page cache."""
    folder.mkdir()
    paths = []
    for path in files:
        ds = dcmread(path)
        if syntax != ExplicitVRLittleEndian:
            # gdcm's RLE encoder crashes the process.
            plugin = "pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg"
            ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        paths.append(folder / path.name)
        ds.save_as(paths[-1])
    return paths


def compare(label: str, paths: list[Path], repeat: int) -> str:
    """One row of the table: the ways run in turn, the medians of their times."""
    ways: dict[str, Callable[[], np.ndarray]] = {
        "one": lambda: ours(paths, 1),
        "two": lambda: ours(paths, 2),
        "pydicom": lambda: pydicom_way(paths),
    }
    first = {name: way() for name, way in ways.items()}
    if not all(np.array_equal(first["pydicom"], array) for array in first.values()):
        raise SystemExit(f"{label}: the volumes differ")
    megabytes = first["pydicom"].nbytes / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    del first
    for _ in range(repeat):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    one, two, theirs = (megabytes / median(seconds[name]) for name in ("one", "two", "pydicom"))
    best = max(one, two)
    return f"| {label} | {one:.0f} | {two:.0f} | {theirs:.0f} | **{best / theirs:.1f}** |"


def ours(paths: list[Path], threads: int) -> np.ndarray:
    result = read_series(paths, threads=threads)
    if result.volume is None:
        raise SystemExit(str(result.problems))
    return result.volume.array


def pydicom_way(paths: list[Path]) -> np.ndarray:
    slices = sorted((dcmread(path) for path in paths), key=lambda ds: float(ds.ImagePositionPatient[2]))
    array = np.empty((len(slices), slices[0].Rows, slices[0].Columns), np.int16)
    for k, ds in enumerate(slices):
        array[k] = ds.pixel_array.astype(np.int16) * int(ds.RescaleSlope) + int(ds.RescaleIntercept)
    return array


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
