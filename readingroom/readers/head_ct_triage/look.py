"""One look at a scan: from windowed slices to what the network says of each slice, and where."""

from dataclasses import dataclass

import numpy as np

from readingroom.readers.head_ct_triage import head, trunk
from readingroom.readers.head_ct_triage.slices import CLASSES

OUTPUTS = ("scores", "maps", "about")
BATCH = 64


@dataclass(frozen=True, eq=False)
class Looked:
    """``scores`` ``(n, 7)`` in log-odds; fracture's is NaN where there is no bone window. ``where`` ``(n, 20, 20)``:
    the map of bleeding, log-odds of each cell. ``about`` ``(n, 448)``: for the out-of-domain score."""

    scores: np.ndarray
    where: np.ndarray
    about: np.ndarray
    square: head.Square


def look(brain: np.ndarray, bone: np.ndarray | None, run_trunk: trunk.Run, run_network: trunk.Run) -> Looked:
    """Look at uint8 ``(n, rows, columns)`` of a scan, from the neck up. Raises BadInput where there is no head."""
    square = head.find_head(brain)
    features = _features(brain, square, run_trunk)
    said = _network(features, run_network)
    scores = said["scores"].astype(np.float64)
    scores[:, CLASSES.index("fracture")] = np.nan
    if bone is not None:
        scores[:, -1] = _network(_features(bone, square, run_trunk), run_network)["scores"][:, -1]
    return Looked(scores, said["maps"][:, 0].astype(np.float64), said["about"].astype(np.float64), square)


def _features(stack: np.ndarray, square: head.Square, run: trunk.Run) -> np.ndarray:
    return trunk.features_of(run, head.neighbours(head.seen(stack, square)).astype(np.float32))


def _network(features: np.ndarray, run: trunk.Run) -> dict[str, np.ndarray]:
    parts = [run(features[n : n + BATCH]) for n in range(0, len(features), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in OUTPUTS}
