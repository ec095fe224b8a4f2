"""What is fitted: norms on controls, and dementia on their z-scores; forms and strength chosen by cross-validation
within the rows that are given, so that an outer fold never has a say.

``arrays``: ``age``, ``male``, ``head``, ``oasis``, ``dementia`` (1, 0, or -1: not known), ``scaled`` (hippocampus of
both sides in atlas space), all ``(n,)``; ``volume``, ``thickness``, ``asymmetry``: ``(n, regions)`` by
``regions.NAMES``, NaN where not measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.classification import auc
from readingroom.readers.alzheimer.dementia import SETS, YOUNGEST, rows_of
from readingroom.readers.alzheimer.norms import FORMS, WITHIN, Form, Norms, People, Table, fit, log_density, z_scores
from readingroom.readers.alzheimer.people import IXI, OASIS
from readingroom.readers.alzheimer.regions import NAMES, Kind

INNER = 5
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
Arrays = Mapping[str, np.ndarray]
_SOURCE: Mapping[Kind, str] = {"volume": OASIS, "asymmetry": OASIS, "thickness": IXI}


@dataclass(frozen=True, eq=False)
class Learnt:
    """``regions``, ``weights``, ``offset``: the regression before calibration; ``chosen``: what was chosen and how it
    did in the inner folds."""

    norms: Norms
    regions: tuple[str, ...]
    weights: np.ndarray
    offset: float
    chosen: dict[str, object]


def people_of(arrays: Arrays) -> People:
    return People(arrays["age"], arrays["male"], arrays["head"])


def controls(arrays: Arrays, kind: Kind) -> np.ndarray:
    """Return which rows a norm of this kind may be fitted on: CDR 0 of OASIS; everybody of IXI."""
    oasis = arrays["oasis"] > 0
    return oasis & (arrays["dementia"] == 0) if _SOURCE[kind] == OASIS else ~oasis


def fit_all(arrays: Arrays, seed: int) -> Learnt:
    """Fit norms and regression on ``arrays``. Raises BadInput where there are too few of a kind."""
    random = np.random.default_rng(seed)
    chosen: dict[str, object] = {}
    tables: dict[Kind, Table] = {}
    for kind in NAMES:
        form, tried = _form(kind, arrays, random)
        tables[kind] = _table(kind, arrays, controls(arrays, kind), form)
        chosen[kind] = form.model_dump() | {"log_density": tried}
    old = np.flatnonzero((arrays["oasis"] > 0) & (arrays["age"] >= YOUNGEST))
    if len(set((arrays["dementia"][old] > 0).tolist())) < 2:
        raise BadInput("There is nobody with, or nobody without dementia to learn from.")
    group, strength, losses = _strength(arrays, old, tables["volume"].form, random)
    regions = SETS[group]
    weights, offset = _logistic(tables["volume"], arrays, old, regions, strength)
    chosen["dementia"] = {"regions": group, "strength": strength, "log_loss": losses}
    return Learnt(Norms(tables=tables), regions, weights, offset, chosen)


def predict_all(learnt: Learnt, arrays: Arrays) -> dict[str, np.ndarray]:
    """Return z by kind, ``(n, regions)``, and ``score``, raw log-odds of dementia ``(n,)`` (NaN without volumes)."""
    people = people_of(arrays)
    made = {
        f"z_{kind}": z_scores(learnt.norms.tables[kind], names, arrays[kind], people) for kind, names in NAMES.items()
    }
    z = z_scores(learnt.norms.tables["volume"], learnt.regions, _columns(arrays["volume"], learnt.regions), people)
    return made | {"score": rows_of(z, people.age, people.male) @ learnt.weights + learnt.offset}


def validate(outputs: Arrays, arrays: Arrays) -> dict[str, float]:
    """Return how z of controls is calibrated (mean, SD, coverage of the 95 % band over people and regions), and AUC of
    dementia from YOUNGEST on, in this fold."""
    told: dict[str, float] = {}
    for kind in NAMES:
        z = outputs[f"z_{kind}"][controls(arrays, kind)]
        told |= {f"z_{kind}_mean": round(float(np.nanmean(z)), 4), f"z_{kind}_sd": round(float(np.nanstd(z)), 4)}
        told[f"z_{kind}_coverage"] = round(float((np.abs(z[np.isfinite(z)]) < WITHIN).mean()), 4)
    old = (arrays["oasis"] > 0) & (arrays["age"] >= YOUNGEST)
    if len(set((arrays["dementia"][old] > 0).tolist())) == 2:
        told["auc_dementia_60_and_older"] = round(auc(arrays["dementia"][old] > 0, outputs["score"][old]), 4)
    return told


def _columns(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return values[:, [NAMES["volume"].index(name) for name in names]]


def _table(kind: Kind, arrays: Arrays, which: np.ndarray, form: Form) -> Table:
    return fit(kind, NAMES[kind], arrays[kind][which], people_of(arrays).where(which), form, _SOURCE[kind])


def _form(kind: Kind, arrays: Arrays, random: np.random.Generator) -> tuple[Form, dict[str, float]]:
    """The form with the highest log density of controls left out, the same for all regions of the table."""
    own = np.flatnonzero(controls(arrays, kind))
    fold = random.permutation(len(own)) % INNER
    people, tried = people_of(arrays), {}
    for form in FORMS[kind]:
        found = []
        for k in range(INNER):
            inside, out = own[fold != k], own[fold == k]
            table = _table(kind, arrays, inside, form)
            found.append(log_density(table, NAMES[kind], arrays[kind][out], people.where(out)))
        tried[form] = float(np.mean(found))
    best = max(tried, key=lambda form: tried[form])
    return best, {f"{'bent' if f.bend else 'straight'}, {f.spread}, {f.head}": round(v, 4) for f, v in tried.items()}


def _strength(
    arrays: Arrays, old: np.ndarray, form: Form, random: np.random.Generator
) -> tuple[str, float, dict[str, float]]:
    """The group of regions and the strength of least log loss in inner folds; norms are fitted without each fold."""
    truth = arrays["dementia"][old] > 0
    fold = np.empty(len(old), int)
    for value in (False, True):
        places = random.permutation(np.flatnonzero(truth == value))
        fold[places] = np.arange(len(places)) % INNER
    losses: dict[tuple[str, float], float] = dict.fromkeys(((g, c) for g in SETS for c in STRENGTHS), 0.0)
    everyone = np.arange(len(arrays["age"]))
    for k in range(INNER):
        inside, out = old[fold != k], old[fold == k]
        kept = controls(arrays, "volume") & ~np.isin(everyone, out)
        table = _table("volume", arrays, kept, form)
        for group, strength in losses:
            weights, offset = _logistic(table, arrays, inside, SETS[group], strength)
            log_odds = _rows(table, arrays, out, SETS[group]) @ weights + offset
            losses[group, strength] += float(np.logaddexp(0, np.where(truth[fold == k], -log_odds, log_odds)).sum())
    group, strength = min(losses, key=lambda key: losses[key])
    return group, strength, {f"{g}, {c:g}": round(loss / len(old), 4) for (g, c), loss in losses.items()}


def _rows(table: Table, arrays: Arrays, which: np.ndarray, regions: tuple[str, ...]) -> np.ndarray:
    people = people_of(arrays).where(which)
    z = z_scores(table, regions, _columns(arrays["volume"][which], regions), people)
    return rows_of(z, people.age, people.male)


def _logistic(
    table: Table, arrays: Arrays, which: np.ndarray, regions: tuple[str, ...], strength: float
) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    rows = _rows(table, arrays, which, regions)
    found = LogisticRegression(C=strength, max_iter=5000).fit(rows, arrays["dementia"][which] > 0)
    return found.coef_[0].astype(np.float64), float(found.intercept_[0])
