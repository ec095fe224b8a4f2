"""How unlike what it was trained on an image is to a network, told by the network's own features; numpy only.

The features (the layer before the last) of what a network was trained on are described by a Gaussian in the principal
directions that hold ``EXPLAINED`` of their variance and one mean variance for all other directions (Moghaddam and
Pentland 1997; Tipping and Bishop 1999); the distance is Mahalanobis' (Lee 2018, NeurIPS), and what lies outside the
principal directions counts too: strange images stand out there (Kamoi and Kobayashi 2020; Wang 2022, "ViM").

Learnt and judged in cross-validation: a network's statistics come from patients it was trained on, the threshold from
patients it has never seen. A reader calls ``learn`` once in training, keeps ``EnsembleDomain`` as JSON beside its
weights and compares ``score`` with 1 at use.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from readingroom.core.errors import BadInput

EXPLAINED = 0.99
"""Share of the variance that the principal directions hold, if ``MOST_AXES`` of them suffice."""
MOST_AXES = 48
"""More would be fitted to few patients, and make a large file of a wide network."""
SHARE = 0.99
"""Share of the patients like the validation patients that are to be read."""
FEWEST_PATIENTS = 10
RULE = (
    f"A patient's distance: the median over the places of a study, the largest of its studies, by the network that "
    f"never saw the patient. Threshold: the smallest validation distance that by split conformal prediction at least "
    f"{SHARE:.0%} of new patients like these keep below (the ceil((n + 1) x {SHARE:g})-th of n), or, where n is too "
    f"small for that, the largest: then about 1 of n + 1 such patients is abstained from. Fixed beforehand."
)


class Domain(BaseModel):
    """Statistics of one network's features, ``d`` wide. ``axes``: ``k`` orthonormal rows, ``variances`` along them,
    ``rest``: mean variance of the other ``d - k`` directions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[float, ...] = Field(min_length=1)
    axes: tuple[tuple[float, ...], ...]
    variances: tuple[float, ...]
    rest: float = Field(gt=0)
    examples: int = Field(ge=2)
    patients: int = Field(ge=2)

    @model_validator(mode="after")
    def _shapes(self) -> "Domain":
        fits = len(self.axes) == len(self.variances) < len(self.mean) and all(v > 0 for v in self.variances)
        if not fits or any(len(axis) != len(self.mean) for axis in self.axes):
            raise ValueError("axes, variances and mean do not fit each other")
        return self

    @property
    def width(self) -> int:
        """Features of the network, ``d``."""
        return len(self.mean)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return Mahalanobis distances ``(n,)`` of ``features`` ``(n, d)``, divided by sqrt(d): the root mean square
        is 1 among what it was fitted on. Raises BadInput for another width and for features that are no numbers."""
        away = _checked(features, self.width) - np.array(self.mean)
        along = away @ np.array(self.axes).reshape(-1, self.width).T
        outside = np.maximum((away**2).sum(1) - (along**2).sum(1), 0)
        squared = (along**2 / np.array(self.variances)).sum(1) + outside / self.rest
        return np.sqrt(squared / self.width)


class EnsembleDomain(BaseModel):
    """Statistics of each network of an ensemble and the distance above which a study is not read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    edition: Literal[1] = 1
    networks: tuple[Domain, ...] = Field(min_length=1)
    abstain_above: float = Field(gt=0)
    validation_patients: int = Field(ge=1)
    rule: str = RULE

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return distances ``(n,)``, the mean over the networks, of ``features`` ``(n, sum of widths)``: those of the
        networks side by side, in their order. Raises BadInput as ``Domain.distance`` does."""
        widths = [network.width for network in self.networks]
        parts = np.split(_checked(features, sum(widths)), np.cumsum(widths)[:-1], axis=1)
        return np.mean([n.distance(one) for n, one in zip(self.networks, parts, strict=True)], axis=0)

    def score(self, features: np.ndarray) -> float:
        """Return how unlike a study is by ``features`` ``(n, sum of widths)`` of its places (patches, candidates, or
        the whole image: n = 1): 1 at the threshold, abstain above. The median: it stays in place when a few places
        are strange, as disease may be. Raises BadInput where there is no place, and as ``distance`` does."""
        return float(np.median(self.distance(features))) / self.abstain_above


@dataclass(frozen=True, eq=False)
class Places:
    """``features`` ``(n, d)`` of places by one network, ``patients`` ``(n,)``: whose each is, ``studies`` ``(n,)``: of
    which study (one a patient where None)."""

    features: np.ndarray
    patients: np.ndarray
    studies: np.ndarray | None = None


def fit(features: np.ndarray, patients: np.ndarray, explained: float = EXPLAINED) -> Domain:
    """Return the statistics of ``features`` ``(n, d)``; each of ``patients`` ``(n,)`` weighs the same, whatever the
    number of its rows. Raises BadInput for fewer than two patients, features that are no numbers or all the same."""
    rows = _checked(features)
    names, whose, counts = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    if len(names) < 2 or len(whose) != len(rows):
        raise BadInput("The domain is learnt from the features of two patients at least, a patient named for each row.")
    weight = 1 / counts[whose] / len(names)
    mean = weight @ rows
    away = rows - mean
    values, vectors = np.linalg.eigh((away * weight[:, None]).T @ away)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = values.sum()
    if total <= 0:
        raise BadInput("The features are the same for every image: nothing can be learnt from them.")
    width = len(values)
    kept = min(int(np.searchsorted(np.cumsum(values), explained * total) + 1), width - 1, MOST_AXES)
    # A direction in which training images never vary would make any change there infinite.
    rest = max(float(values[kept:].mean()), 1e-6 * total / width)
    return Domain(
        mean=_rounded(mean),
        axes=tuple(_rounded(vectors[:, n]) for n in range(kept)),
        variances=_rounded(values[:kept]),
        rest=_rounded(np.array([rest]))[0],
        examples=len(rows),
        patients=len(names),
    )


def learn(trained: Sequence[Places], unseen: Sequence[Places]) -> EnsembleDomain:
    """Return the domain of an ensemble. For each of its networks, in order: ``trained``, places of patients that it was
    trained on, and ``unseen``, places of those it has never seen, which set the threshold by ``RULE``.

    Raises BadInput where a patient is on both sides of a network or the patients are too few.
    """
    networks: list[Domain] = []
    worst: dict[object, float] = {}
    for seen, hidden in zip(trained, unseen, strict=True):
        if set(np.asarray(seen.patients).tolist()) & set(np.asarray(hidden.patients).tolist()):
            raise BadInput("A patient is among those a network was trained on and among those it is judged on.")
        networks.append(fit(seen.features, seen.patients))
        for patient, distance in _by_patient(networks[-1], hidden).items():
            worst[patient] = max(distance, worst.get(patient, 0.0))
    limit = threshold(np.array(list(worst.values())))
    return EnsembleDomain(networks=tuple(networks), abstain_above=limit, validation_patients=len(worst))


def threshold(distances: np.ndarray, share: float = SHARE) -> float:
    """Return the distance above which to abstain, from ``distances`` ``(n,)``, one a validation patient: see ``RULE``.

    Raises BadInput for fewer than ``FEWEST_PATIENTS``.
    """
    ordered = np.sort(np.asarray(distances, np.float64))
    if len(ordered) < FEWEST_PATIENTS:
        raise BadInput(f"{len(ordered)} validation patients are too few to say where to abstain ({FEWEST_PATIENTS}).")
    rank = math.ceil((len(ordered) + 1) * share)
    return float(ordered[min(rank, len(ordered)) - 1])


def read_domain(data: bytes) -> EnsembleDomain:
    """Read the JSON of a domain. Raises BadInput on anything else."""
    try:
        return EnsembleDomain.model_validate(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise BadInput(f"Not a domain: {type(error).__name__}.") from None


def _by_patient(network: Domain, places: Places) -> dict[object, float]:
    """The distance of each patient: the median over each of its studies, the largest of these."""
    distances, patients = network.distance(places.features), np.asarray(places.patients)
    studies = patients if places.studies is None else np.asarray(places.studies)
    found: dict[object, float] = {}
    for patient in np.unique(patients):
        its = patients == patient
        found[patient.item()] = max(
            float(np.median(distances[its & (studies == study)])) for study in np.unique(studies[its])
        )
    return found


def _checked(features: np.ndarray, width: int | None = None) -> np.ndarray:
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not len(rows) or (width is not None and rows.shape[1] != width):
        raise BadInput(f"Features of shape {rows.shape} are not those of this network.", "Make the weights again.")
    if not np.isfinite(rows).all():
        raise BadInput("The network gave features that are no numbers.")
    return rows


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    """Six digits: a third of the file, and no less than can be told from so many patients."""
    return tuple(float(f"{v:.6g}") for v in values)
