"""The weights of added reader versions: files in the home folder, each named by its SHA-256."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from readingroom.core.config import Settings
from readingroom.core.durable import write_durably
from readingroom.core.errors import BadInput
from readingroom.core.secrets import SecretBox
from readingroom.learning.models.statement import Statement, check
from readingroom.learning.models.tables import ModelVersion

CHUNK = 1 << 20


def keep(settings: Settings, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write the files and return name -> SHA-256. Bytes that are there already are written once more, whole."""
    settings.models_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {}
    for name, data in files.items():
        names[name] = hashlib.sha256(data).hexdigest()
        path = settings.models_folder / names[name]
        write_durably(path, data)
        os.chmod(path, 0o400)
    return names


def path_of(settings: Settings, sha256: str) -> Path:
    """Return where the file with this hash lies."""
    return settings.models_folder / sha256


def verify(settings: Settings, box: SecretBox, row: ModelVersion) -> Statement:
    """Return what was signed of a version once signature and every file have been checked.

    Raises KeyMissing for a signature that is not the house's, BadInput for a file that is missing or was changed.
    """
    statement = check(box, row.statement, row.signature)
    for name, sha256 in statement.files.items():
        digest = hashlib.sha256()
        try:
            with path_of(settings, sha256).open("rb") as file:
                while data := file.read(CHUNK):
                    digest.update(data)
        except OSError:
            raise BadInput(f"The file {name} of this version is gone.", "Bring it back from a backup.") from None
        if digest.hexdigest() != sha256:
            raise BadInput(f"The file {name} of this version was changed.", "Bring it back from a backup.")
    return statement
