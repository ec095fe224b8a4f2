"""Heat maps as the page draws them: 256 levels on the box of the finding's segment, tied to its images."""

import base64
from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict

from readingroom.core.errors import NotFound, Unsupported
from readingroom.findings.heat_map import check_heat_map, heat_map_from_bytes
from readingroom.findings.model import Reading, SegmentMask
from readingroom.readers.tables import ReadingRow

MOST_VOXELS = 1 << 24
"""No browser is sent more: 16 million are 64 MiB here and 22 MiB on the wire."""
_HEADER = 4096
"""More than what stands before the values of an array in a file."""


class HeatMapLevels(BaseModel):
    """``levels``: base64 of one byte a voxel, 255 being 1.0, over the C-ordered box ``(slices, rows, columns)``."""

    model_config = ConfigDict(frozen=True)

    series_instance_uid: str
    offset: tuple[int, int, int]
    shape: tuple[int, int, int]
    sop_instance_uids: tuple[str, ...]
    levels: str


def keys_of(row: ReadingRow, finding_id: str) -> tuple[str, str]:
    """Return the store keys of a finding's heat map and of the segment it lies on. Raises NotFound."""
    body = Reading.model_validate(row.body) if row.body else None
    finding = next((f for f in body.findings if f.id == finding_id), None) if body else None
    if finding is None or not finding.evidence.heat_map:
        raise NotFound("The reader made no heat map for this finding.")
    heat_map, segment = row.arrays.get(finding.evidence.heat_map), row.arrays.get(finding.segment)
    if heat_map is None or segment is None:
        raise NotFound("The heat map of this finding was not kept.", "Let the study be read again.")
    return str(heat_map), str(segment)


def levels_of(keys: tuple[str, str], read: Callable[[str], bytes]) -> HeatMapLevels:
    """Return what the page draws of the heat map and segment kept under ``keys``; ``read`` gives a key's bytes.

    Raises BadInput where the two don't belong together, Unsupported where the map is too large for a browser.
    """
    data = read(keys[0])
    if len(data) > MOST_VOXELS * 4 + _HEADER:
        raise Unsupported(f"This heat map has more than {MOST_VOXELS >> 20} million voxels: it can't be shown here.")
    heat_map, segment = heat_map_from_bytes(data), SegmentMask.from_bytes(read(keys[1]))
    k, j, i = segment.mask.shape
    check_heat_map(heat_map, (k, j, i))
    levels = np.rint(heat_map * 255).astype(np.uint8)
    return HeatMapLevels(
        series_instance_uid=segment.series_instance_uid,
        offset=segment.offset,
        shape=(k, j, i),
        sop_instance_uids=segment.sop_instance_uids,
        levels=base64.b64encode(levels.tobytes()).decode("ascii"),
    )
