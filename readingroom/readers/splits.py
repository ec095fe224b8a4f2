"""Which part a patient belongs to: by a hash of who it is, so that the split never depends on what else is there.

About 4 in 15 are the locked test part: never used for training, for any choice, or for the operating point. The others
fall into folds.
"""

import hashlib

TEST = -2
"""The locked part."""
FOLDS = 5


def part_of(reader: str, patient: str, folds: int = FOLDS) -> int:
    """Return TEST or the fold 0 .. folds-1 of a patient of the set that ``reader`` is made from.

    ``reader``: a name and the number of the split, for example ``lung-nodule 1``: never change it for a set that
    something was measured on.
    """
    return TEST if _number(reader, patient) % 15 < 4 else fold_of(reader, patient, folds)


def fold_of(reader: str, patient: str, folds: int = FOLDS) -> int:
    """Return the fold 0 .. folds-1 of a patient of a set so small that no part of it is locked."""
    return (_number(reader, patient) // 15) % folds


def _number(reader: str, patient: str) -> int:
    return int.from_bytes(hashlib.sha256(f"readingroom {reader} {patient}".encode()).digest()[:8], "big")
