"""One person's measures against the norms: z by region, probability of dementia, and why there is none of either.

The reader, the command ``norms`` and the page all ask here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from readingroom.core.errors import BadInput
from readingroom.findings.model import Contribution
from readingroom.inference.weights import checked_bytes
from readingroom.readers.alzheimer.dementia import Dementia, read_dementia
from readingroom.readers.alzheimer.norms import Norms, Table, curve, read_norms, score, why_not
from readingroom.readers.alzheimer.regions import HEAD_SIZE, LARGER_IS_WORSE, NAMES, Kind, with_both_sides, words_of
from readingroom.readers.contract import Card
from readingroom.readers.registry import load_card

HERE = Path(__file__).parent
FILES = ("norms.json", "dementia.json", "training.json")
PERCENTILES = {"2.5": -1.959964, "25": -0.67449, "50": 0.0, "75": 0.67449, "97.5": 1.959964}
NO_SEX = "The norms are by sex, of women and men: there is none here for anybody else, or where it is not known."
NO_AGE = "The age is not known, and nothing can be said without it."
Sex = Literal["F", "M", "O"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(_Model):
    """``value`` in ``unit``; ``z`` with its 95 % interval for the number of controls; ``percentile`` of controls.
    ``larger_is_worse``: a high z is what disease does (ventricles)."""

    name: str
    words: str
    kind: Kind
    value: float
    unit: str
    z: float
    low: float
    high: float
    percentile: float
    larger_is_worse: bool


class Norm(_Model):
    """Who a kind of norm comes from, and where it holds."""

    kind: Kind
    source: str
    controls: int
    ages: tuple[float, float]


class Answer(_Model):
    """``notes``: what could not be said and why. ``prevalence``: that the probability is for."""

    regions: tuple[Region, ...]
    probability: float | None
    prevalence: float
    contributions: tuple[Contribution, ...]
    notes: tuple[str, ...]
    norms: tuple[Norm, ...]
    head_size_ml: float | None


class Curve(_Model):
    """Values at each of ``ages`` that so many percent of controls are below, for one sex and head size."""

    name: str
    words: str
    unit: str
    ages: tuple[float, ...]
    percentiles: dict[str, tuple[float, ...]]
    source: str
    controls: int


class Assessor:
    """Norms and model with their card. ``folder`` holds ``card.yaml`` and ``weights``."""

    def __init__(self, folder: Path = HERE) -> None:
        """Raises BadInput where a weights file isn't the one the card names."""
        self.card: Card = load_card(folder / "card.yaml")
        weights, named = folder / "weights", self.card.weights
        if set(FILES) - set(named):
            raise BadInput("The card does not name all weights.")
        kept = {name: checked_bytes(weights / name, named[name]) for name in FILES}
        self.norms: Norms = read_norms(kept["norms.json"])
        self.dementia: Dementia = read_dementia(kept["dementia.json"])

    def assess(
        self, measured: Mapping[str, float], age: float | None, sex: Sex | None, prevalence: float | None = None
    ) -> Answer:
        """Return what norms and model say of ``measured`` (FreeSurfer's names; mm3, mm). Raises BadInput for a
        prevalence that is none; whatever else cannot be said is said to be so in ``notes``."""
        whole = with_both_sides(measured)
        head = whole.get(HEAD_SIZE)
        notes: list[str] = []
        regions: list[Region] = []
        if age is None:
            notes.append(NO_AGE)
        elif sex not in ("F", "M"):
            notes.append(NO_SEX)
        else:
            for kind, table in self.norms.tables.items():
                names = [name for name in NAMES[kind] if name in whole]
                reason = why_not(table, age, head) if names else ""
                notes += [reason] if reason else []
                if not reason:
                    regions += [_region(table, name, whole[name], age, sex == "M", head) for name in names]
        probability, parts = self._probability(regions, age, sex, prevalence, notes)
        return Answer(
            regions=tuple(regions), probability=probability, prevalence=prevalence or self.dementia.prevalence,
            contributions=parts, notes=tuple(dict.fromkeys(notes)), norms=self.sources(),
            head_size_ml=None if head is None else round(head / 1000, 1),
        )  # fmt: skip

    def _probability(
        self, regions: list[Region], age: float | None, sex: Sex | None, prevalence: float | None, notes: list[str]
    ) -> tuple[float | None, tuple[Contribution, ...]]:
        if prevalence is not None and not 0 < prevalence < 1:
            raise BadInput("A prevalence lies between 0 and 1.")
        z = {region.name: region.z for region in regions}
        if age is None or not any(region.kind == "volume" for region in regions):
            notes.append("Without z-scores of volumes there is no probability of dementia.")
            return None, ()
        try:
            chance = self.dementia.probability(z, age, sex == "M", prevalence)
        except BadInput as error:
            notes.append(error.message)
            return None, ()
        return round(chance, 4), self.dementia.contributions(z, age, sex == "M")

    def sources(self) -> tuple[Norm, ...]:
        return tuple(
            Norm(kind=kind, source=table.source, controls=table.n, ages=table.ages)
            for kind, table in self.norms.tables.items()
        )

    def curve(self, name: str, sex: Literal["F", "M"], head_ml: float | None) -> Curve:
        """Return the percentiles of a region over the ages its norm holds for. Raises BadInput for a region there is
        none for, or a head size it does not hold for (volumes)."""
        kind = next((kind for kind, names in NAMES.items() if name in names), None)
        if kind is None:
            raise BadInput("There is no norm for this region.")
        table = self.norms.tables[kind]
        head = None if head_ml is None else 1000 * head_ml
        reason = why_not(table, table.ages[0], head)
        if reason:
            raise BadInput(reason)
        first, last = (int(age) for age in table.ages)
        ages = tuple(float(age) for age in range(first, last + 1))
        percentiles = {
            words: tuple(round(v, 4) for v in curve(table, name, ages, sex == "M", head, z))
            for words, z in PERCENTILES.items()
        }
        return Curve(
            name=name, words=words_of(name), unit=unit_of(kind), ages=ages, percentiles=percentiles,
            source=table.source, controls=table.n,
        )  # fmt: skip


def unit_of(kind: Kind) -> str:
    return {"volume": "mm3", "thickness": "mm", "asymmetry": "1"}[kind]


def _region(table: Table, name: str, value: float, age: float, male: bool, head: float | None) -> Region:
    found = score(table, name, value, age, male, head)
    return Region(
        name=name, words=words_of(name), kind=table.kind, value=round(value, 4), unit=unit_of(table.kind),
        z=round(found.z, 3), low=round(found.low, 3), high=round(found.high, 3),
        percentile=round(found.percentile, 2), larger_is_worse=name in LARGER_IS_WORSE,
    )  # fmt: skip
