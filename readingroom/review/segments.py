"""Segments as the page draws them: run lengths of a mask, tied to the images it lies on."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from readingroom.findings.model import SegmentMask


class SegmentRuns(BaseModel):
    """``runs``: start, length, ... of what is set, over the C-ordered mask ``(slices, rows, columns)``."""

    model_config = ConfigDict(frozen=True)

    series_instance_uid: str
    offset: tuple[int, int, int]
    shape: tuple[int, int, int]
    sop_instance_uids: tuple[str, ...]
    runs: tuple[int, ...]


def runs_of(segment: SegmentMask) -> SegmentRuns:
    """Return the runs of a mask; ``mask_of`` is the inverse."""
    flat = np.concatenate(([False], segment.mask.ravel(), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    k, j, i = segment.mask.shape
    return SegmentRuns(
        series_instance_uid=segment.series_instance_uid,
        offset=segment.offset,
        shape=(k, j, i),
        sop_instance_uids=segment.sop_instance_uids,
        runs=tuple(int(n) for n in np.stack((starts, ends - starts), axis=1).ravel()),
    )


def mask_of(runs: SegmentRuns) -> SegmentMask:
    """Inverse of ``runs_of``."""
    flat = np.zeros(int(np.prod(runs.shape)), bool)
    for start, length in zip(runs.runs[::2], runs.runs[1::2], strict=True):
        flat[start : start + length] = True
    return SegmentMask(runs.series_instance_uid, runs.offset, flat.reshape(runs.shape), runs.sop_instance_uids)
