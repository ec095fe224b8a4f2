"""Write a file so that a reader sees the old one or the new one, whole, whatever is killed when."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write beside ``path``, flush to disk, rename over it, flush the folder."""
    beside = path.with_name(f".{path.name}.writing")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
