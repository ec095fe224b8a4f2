"""The files of a folder, hashed, each with its group: from a table beside them, else the patient a DICOM file names.

Nothing here is in the archive, and no patient's identifier goes further than to ``groups.keyed``.
"""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.imaging.header import read_dataset, text_of
from readingroom.learning.model import Folder


@dataclass(frozen=True)
class FileFound:
    """One file. ``name``: where it lies in the folder. ``group`` is empty where nobody says whose it is."""

    name: str
    sha256: str
    pixel_sha256: str
    """Of the value of Pixel Data; of the whole file where that is no DICOM."""
    group: str
    PatientID: str = ""
    IssuerOfPatientID: str = ""


def read_folder(folder: Folder) -> list[FileFound]:
    """Return the folder's files by name; with a table of groups, those in it and besides them DICOM only.

    Raises BadInput where the folder or the table cannot be read, or the table names a file that is not there.
    """
    top = Path(folder.path)
    if not top.is_dir():
        raise BadInput("The cohort's folder is not there.", "Mount it where it was when the cohort was added.")
    declared = _groups(top / folder.groups) if folder.groups else {}
    names = sorted(p.relative_to(top).as_posix() for p in top.rglob("*") if p.is_file() and not p.is_symlink())
    missing = len(declared.keys() - set(names))
    if missing:
        raise BadInput(f"{missing} files of the table of groups are not in the folder.", "Look at its column 'file'.")
    found = (_read(top / name, name, declared.get(name, "")) for name in names if name != folder.groups)
    return [one for one in found if one is not None]


def _groups(table: Path) -> dict[str, str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["file"].strip(): row["group"].strip() for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError):
        raise BadInput(
            "The table of groups cannot be read.", "A CSV file with the columns 'file' and 'group'."
        ) from None


def _read(path: Path, name: str, group: str) -> FileFound | None:
    """Return the file, None for one that is neither in the table nor DICOM with pixels."""
    try:
        digest = _sha256(path)
    except OSError as error:
        raise BadInput(f"A file of the folder cannot be read: {error.strerror}.") from None
    try:
        ds = read_dataset(path)
    except BadInput:
        return FileFound(name, digest, digest, f"declared:{group}") if group else None
    if "PixelData" not in ds:
        return None
    patient, issuer = text_of(ds, "PatientID"), text_of(ds, "IssuerOfPatientID")
    pixels = sha256_hex(bytes(ds.PixelData))
    named = sha256_hex(patient, issuer) if patient else ""
    whose = f"declared:{group}" if group else f"named:{named}" if named else ""
    return FileFound(name, digest, pixels, whose, patient, issuer)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
