"""Measure the reader on people it was not trained on: are z-scores calibrated, and does the probability tell dementia?

AUCs after DeLong, differences paired on the same people; what is averaged over regions by bootstrap over people.
IXI's whole-brain volumes, in native space and from other scanners, were used for no norm of volume: all of them are the
check whether head sizes of a new FreeSurfer run fit norms that come from OASIS' atlas-space table.
"""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.bootstrap import bootstrap
from readingroom.evaluation.classification import (
    at_operating_point,
    brier,
    calibration,
    delong,
    matched_auc,
    reliability,
)  # fmt: skip
from readingroom.evaluation.estimate import Estimate
from readingroom.readers.alzheimer.dementia import YOUNGEST
from readingroom.readers.alzheimer.learn import Arrays, controls, people_of
from readingroom.readers.alzheimer.norms import WITHIN, why_not, z_scores
from readingroom.readers.alzheimer.people import read_people
from readingroom.readers.alzheimer.regions import NAMES
from readingroom.readers.alzheimer.train import OLD, arrays_of, discrimination, fingerprint
from readingroom.readers.training import Report

if TYPE_CHECKING:
    from readingroom.readers.alzheimer.reader import AlzheimerReader

SEED = 20261130
WHOLE_BRAIN = "BrainSegVolNotVent"
RULE = (
    "One row a person (CDR above 0 against CDR 0). Hippocampus alone: volume of both sides in atlas space, unadjusted. "
    "AUC and paired difference after DeLong. z: of controls nobody was fitted on, over people and regions; coverage: "
    "share of |z| below 1.96 (0.95 is right); 95% intervals by bootstrap over people. Age-matched AUC: within bands of "
    "ten years only (Janes and Pepe 2008). Below 60 years the reader gives no probability; auc_dementia (all ages) "
    "scores them all the same, so that it can be compared with what others report: age confounds it. "
    "whole_brain_z_ixi: IXI's native volumes against norms from OASIS, people outside the norms' ages or head sizes "
    "left out."
)


def evaluate(reader: "AlzheimerReader", data: Path, command: str, report: Report) -> dict[str, Any]:
    """Return the evaluation as JSON data. Raises BadInput where nothing is left to evaluate on."""
    everyone = read_people(data)
    trained = set(json.loads((reader.folder / "weights" / "training.json").read_text("utf-8"))["trained_on"])
    unseen = [p for p in everyone if fingerprint(p) not in trained]
    arrays = arrays_of(unseen)
    oasis = arrays["oasis"] > 0
    old = oasis & (arrays["age"] >= YOUNGEST)
    truth = arrays["dementia"] > 0
    if len(set(truth[old].tolist())) < 2:
        raise BadInput("Nobody is left to evaluate on.", "Evaluate on people the reader has not seen.")
    report("evaluate", 0.1)
    z = {kind: _z(reader, kind, arrays) for kind in NAMES}
    score = _scores(reader, z["volume"], arrays)
    probability = reader.dementia.calibration.probability(score)
    found = discrimination(truth, score, arrays)
    band = np.floor(arrays["age"][old] / 10)
    found[f"auc_dementia_{OLD}_age_matched"] = bootstrap(
        list(zip(truth[old], score[old], band, strict=True)), _matched, SEED
    ).as_metric()
    report("evaluate", 0.5)
    found |= _calibrated(truth[old], probability[old], reader.dementia.operating_point)
    found |= _norms(z, arrays, truth) | _whole_brain(reader, arrays_of([p for p in everyone if p.dementia is None]))
    report("evaluate", 1.0)
    return {
        "reader": reader.card.name, "version": reader.card.version,
        "n_patients": len(unseen), "n_positive": int(truth.sum()), "metrics": found,
        "reliability_60_and_older": [
            {"mean_probability": round(b.mean_probability, 4), "observed": b.observed.as_metric()}
            for b in reliability(truth[old], probability[old], 4)
        ],
        "operating_point": reader.dementia.operating_point,
        "data": f"{data.resolve().name}: {int(oasis.sum())} people of OASIS-1 ({int(truth.sum())} with CDR above 0, "
        f"{int(old.sum())} of 60 and more), {int((~oasis).sum())} of IXI; {len(everyone) - len(unseen)} used in "
        "training left out",
        "command": command, "matching_rule": RULE, "weights_sha256": reader.weights_sha256,
    }  # fmt: skip


def _z(reader: "AlzheimerReader", kind: Any, arrays: Arrays) -> np.ndarray:
    return z_scores(reader.norms.tables[kind], NAMES[kind], arrays[kind], people_of(arrays))


def _scores(reader: "AlzheimerReader", z: np.ndarray, arrays: Arrays) -> np.ndarray:
    columns = [NAMES["volume"].index(name) for name in reader.dementia.regions]
    return reader.dementia.score(z[:, columns], arrays["age"], arrays["male"])


def _matched(cases: Sequence[tuple[bool, float, float]]) -> float:
    truth, score, band = (np.array(part) for part in zip(*cases, strict=True))
    return matched_auc(truth, score, band)


def _calibrated(truth: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, Any]:
    """Brier score, calibration slope and intercept, rates at the operating point: from YOUNGEST on."""
    cases = list(zip(truth, probability, strict=True))

    def over(measure: Callable[[np.ndarray, np.ndarray], float]) -> Estimate:
        def of(drawn: Sequence[tuple[bool, float]]) -> float:
            y, p = (np.array(part) for part in zip(*drawn, strict=True))
            return measure(y.astype(bool), p)

        return bootstrap(cases, of, SEED, draws=500)

    rates = at_operating_point(truth, probability, threshold)
    found = {f"brier_{OLD}": over(brier)}
    # Where the classes are perfectly apart there is no finite slope.
    with contextlib.suppress(ValueError):
        found[f"calibration_slope_{OLD}"] = over(lambda y, p: calibration(y, p).slope)
        found[f"calibration_in_the_large_{OLD}"] = over(lambda y, p: calibration(y, p).in_the_large)
    found |= {
        f"sensitivity_{OLD}": rates.sensitivity, f"specificity_{OLD}": rates.specificity,
    }  # fmt: skip
    return {name: one.as_metric() for name, one in found.items()}


def _norms(z: dict[Any, np.ndarray], arrays: Arrays, truth: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, values in z.items():
        found |= _spread(f"z_{kind}", values[controls(arrays, kind)])
    hippocampus = z["volume"][:, NAMES["volume"].index("Hippocampus")]
    with_dementia = truth & (arrays["age"] >= YOUNGEST)
    found["hippocampus_z_dementia"] = bootstrap(
        hippocampus[with_dementia].tolist(), lambda cases: float(np.mean(cases)), SEED
    ).as_metric()
    old = (arrays["oasis"] > 0) & (arrays["age"] >= YOUNGEST)
    found[f"auc_hippocampus_z_{OLD}"] = delong(truth[old], -hippocampus[old]).as_metric()
    return found


def _spread(name: str, z: np.ndarray) -> dict[str, Any]:
    """Mean, SD and coverage of z ``(people, regions)``."""
    rows = list(z)
    measures: dict[str, Callable[[Sequence[np.ndarray]], float]] = {
        "mean": lambda cases: float(np.mean(cases)),
        "sd": lambda cases: float(np.std(cases)),
        "coverage": lambda cases: float((np.abs(cases) < WITHIN).mean()),
    }
    return {f"{name}_{what}": bootstrap(rows, of, SEED).as_metric() for what, of in measures.items()}


def _whole_brain(reader: "AlzheimerReader", ixi: Arrays) -> dict[str, Any]:
    table = reader.norms.tables["volume"]
    holds = [not why_not(table, age, head) for age, head in zip(ixi["age"], ixi["head"], strict=True)]
    which = np.array(holds, bool)
    value = ixi["volume"][which][:, [NAMES["volume"].index(WHOLE_BRAIN)]]
    return _spread("whole_brain_z_ixi", z_scores(table, (WHOLE_BRAIN,), value, people_of(ixi).where(which)))
