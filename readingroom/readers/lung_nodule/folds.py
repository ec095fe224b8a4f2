"""Which part a case belongs to: by a hash of its id, so that the split never depends on what else is in the folder.

About 4 in 15 cases are the locked test part: never used for training, for any choice, or for the operating point. The
others fall into five folds. Each cube is one patient, so this is a split by patient.
"""

import hashlib

FOLDS = 5
TEST = -2


def part_of(case_id: str) -> int:
    """Return TEST or the fold 0..4 of a case."""
    number = int.from_bytes(hashlib.sha256(f"readingroom lung-nodule 1 {case_id}".encode()).digest()[:8], "big")
    return TEST if number % 15 < 4 else (number // 15) % FOLDS
