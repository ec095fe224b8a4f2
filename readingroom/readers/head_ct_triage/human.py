"""The human yardstick: how far three radiologists agree on the 491 head CTs of CQ500 (tables only, no images here).

Chilamkurthy et al., Lancet 2018;392:2388. Each scan was read by three; the reference of such sets is their majority.
"""

import csv
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.agreement import cohen_kappa, fleiss_kappa

TABLE = "reads.csv"
COLUMNS = {
    "hemorrhage": "ICH", "intraventricular": "IVH", "intraparenchymal": "IPH", "subarachnoid": "SAH",
    "epidural": "EDH", "subdural": "SDH", "fracture": "Fracture", "midline_shift": "MidlineShift",
}  # fmt: skip
READERS = (1, 2, 3)


def agreement(folder: Path) -> dict[str, Any]:
    """Return for each class Fleiss' kappa, Cohen's of each pair, and how many scans the majority calls positive.

    Raises BadInput where ``folder`` holds no such table.
    """
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        said = {
            name: np.array([[int(row[f"R{n}:{column}"]) for n in READERS] for row in rows])
            for name, column in COLUMNS.items()
        }
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{folder.name} holds no {TABLE} like CQ500's: {type(error).__name__}.") from None
    found: dict[str, Any] = {}
    for name, reads in said.items():
        yes = reads.sum(axis=1)
        pairs = [cohen_kappa(reads[:, a], reads[:, b]).as_metric() for a, b in combinations(range(len(READERS)), 2)]
        found[name] = {
            "fleiss_kappa": fleiss_kappa(np.stack([len(READERS) - yes, yes], axis=1)).as_metric(),
            "cohen_kappa_pairs": pairs,
            "positive_by_majority": int((yes >= 2).sum()),
        }
    return {"source": "CQ500, Chilamkurthy et al., Lancet 2018", "scans": len(rows), "classes": found}
