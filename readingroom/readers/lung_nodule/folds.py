"""Which part a case belongs to (``readers.splits``). Each cube is one patient, so this is a split by patient."""

from readingroom.readers import splits
from readingroom.readers.splits import FOLDS, TEST

__all__ = ["FOLDS", "TEST", "part_of"]


def part_of(case_id: str) -> int:
    """Return TEST or the fold 0..4 of a case."""
    return splits.part_of("lung-nodule 1", case_id)
