"""Norms: what a measure is in healthy people of an age, sex and head size, and how far one value is from it (z).

The mean is a linear regression; the standard deviation, where it changes with age, a regression of the absolute
residuals on age (Altman 1993, Stat Med 12:917). Volumes are in logarithms with head size as a power (Liu 2014,
Neuroimage 86:244: the power-proportion method); thickness and asymmetry need no head size. The uncertainty of a z is
that of mean and spread for the number of people they come from (Royston 1991, Stat Med 10:675).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from readingroom.core.errors import BadInput
from readingroom.readers.alzheimer.regions import Kind

MIDDLE_AGE, DECADE = 60.0, 10.0
HEAD_MM3 = 1.5e6
"""Head sizes are relative to 1.5 litres."""
LEAST_NEAR, NEAR_YEARS = 8, 5.0
"""A norm reaches as far as there are so many controls within so many years."""
LEAST_SPREAD = 0.5
"""Of the spread at all ages together: below it a straight line through absolute residuals is not followed."""
_GAUSS = NormalDist()
WITHIN = _GAUSS.inv_cdf(0.975)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Form(_Model):
    """``bend``: age squared too; ``spread``: of the standard deviation over age; ``head``: how head size enters:
    ``power`` learnt, ``proportion`` (power 1), ``none``."""

    bend: bool
    spread: Literal["constant", "linear"]
    head: Literal["power", "proportion", "none"]


def _forms(*heads: Literal["power", "proportion", "none"]) -> tuple[Form, ...]:
    spreads: tuple[Literal["constant"], Literal["linear"]] = ("constant", "linear")
    return tuple(Form(bend=b, spread=s, head=head) for head in heads for b in (False, True) for s in spreads)


FORMS: Mapping[Kind, tuple[Form, ...]] = {
    "volume": _forms("proportion", "power"), "thickness": _forms("none"), "asymmetry": _forms("none")
}  # fmt: skip
"""What cross-validation chooses among, for all regions of a table together."""


class Norm(_Model):
    """``mean``: coefficients of the design; ``spread``: standard deviation at MIDDLE_AGE and its change a decade;
    ``overall``: at all ages together."""

    mean: tuple[float, ...]
    spread: tuple[float, float]
    overall: float = Field(gt=0)


class Table(_Model):
    """Norms of one kind from one group of ``n`` healthy people, by region. ``ages`` years and ``heads`` mm3: where
    it holds; ``inverse``: of the design's cross product, ``(p, p)``."""

    kind: Kind
    source: str
    n: int = Field(ge=10)
    ages: tuple[float, float]
    heads: tuple[float, float] | None
    form: Form
    inverse: tuple[tuple[float, ...], ...]
    norms: dict[str, Norm]

    @model_validator(mode="after")
    def _shapes(self) -> "Table":
        p = 3 + self.form.bend + (self.form.head == "power")
        if any(len(row) != p for row in self.inverse) or len(self.inverse) != p:
            raise ValueError("the design has another width")
        if any(len(norm.mean) != p for norm in self.norms.values()):
            raise ValueError("a norm has another width")
        return self


@dataclass(frozen=True, eq=False)
class People:
    """Whose measures these are: ``age`` years, ``male`` 0 or 1, ``head`` mm3 (NaN where no norm needs it), all
    ``(n,)``."""

    age: np.ndarray
    male: np.ndarray
    head: np.ndarray

    def where(self, which: np.ndarray) -> "People":
        return People(self.age[which], self.male[which], self.head[which])


@dataclass(frozen=True)
class Score:
    """``z`` and its standard error; ``low``, ``high``: 95 % interval of z; ``percentile``: of controls below."""

    z: float
    error: float

    @property
    def low(self) -> float:
        return self.z - WITHIN * self.error

    @property
    def high(self) -> float:
        return self.z + WITHIN * self.error

    @property
    def percentile(self) -> float:
        return 100 * _GAUSS.cdf(self.z)


def design(people: People, form: Form) -> np.ndarray:
    """Return ``(n, p)``: 1, decades from MIDDLE_AGE, these squared, sex about its middle, log of head size."""
    decades = (people.age - MIDDLE_AGE) / DECADE
    columns = [np.ones_like(decades), decades]
    if form.bend:
        columns.append(decades**2)
    columns.append(people.male - 0.5)
    if form.head == "power":
        columns.append(np.log(people.head / HEAD_MM3))
    return np.stack(columns, axis=1)


def _scale(values: np.ndarray, people: People, kind: Kind, form: Form) -> np.ndarray:
    """Values ``(n, regions)`` on the scale norms are straight on."""
    scaled = np.log(values) if kind == "volume" else values
    return scaled - np.log(people.head / HEAD_MM3)[:, None] if form.head == "proportion" else scaled


def fit(
    kind: Kind, names: Sequence[str], values: np.ndarray, people: People, form: Form, source: str = "controls"
) -> Table:
    """Fit a table on controls. ``values``: ``(n, regions)`` in the order of ``names``, all finite.

    Raises BadInput where there are too few controls.
    """
    n = len(values)
    x = design(people, form)
    if n < 3 * x.shape[1]:
        raise BadInput(f"{n} controls are too few to fit norms on.")
    y = _scale(values, people, kind, form)
    inverse = np.linalg.inv(x.T @ x)
    mean = inverse @ x.T @ y
    residual = y - x @ mean
    correct = np.sqrt(n / (n - x.shape[1]))
    overall = np.sqrt((residual**2).mean(0)) * correct
    spread = np.stack([overall, np.zeros_like(overall)])
    if form.spread == "linear":
        line = np.stack([np.ones(n), (people.age - MIDDLE_AGE) / DECADE], axis=1)
        # The mean absolute value of a normal variable is sqrt(2 / pi) of its standard deviation.
        spread = np.linalg.lstsq(line, np.abs(residual), rcond=None)[0] * np.sqrt(np.pi / 2) * correct
    norms = {
        name: Norm(mean=tuple(mean[:, k].tolist()), spread=tuple(spread[:, k].tolist()), overall=float(overall[k]))
        for k, name in enumerate(names)
    }
    heads = None if form.head == "none" else (float(people.head.min()), float(people.head.max()))
    rows = tuple(tuple(row) for row in inverse.tolist())
    return Table(
        kind=kind, source=source, n=n, ages=supported(people.age), heads=heads, form=form, inverse=rows, norms=norms
    )  # fmt: skip


def supported(age: np.ndarray) -> tuple[float, float]:
    """Return the first and last whole year with LEAST_NEAR controls within NEAR_YEARS on either side."""
    years = np.arange(np.floor(age.min()), np.ceil(age.max()) + 1)
    near = [y for y in years if (np.abs(age - y) <= NEAR_YEARS).sum() >= LEAST_NEAR]
    return (float(near[0]), float(near[-1])) if near else (float(np.median(age)),) * 2


def expected(table: Table, names: Sequence[str], people: People) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation ``(n, regions)`` on the scale of the norms."""
    norms = [table.norms[name] for name in names]
    mean = design(people, table.form) @ np.array([norm.mean for norm in norms]).T
    decades = ((people.age - MIDDLE_AGE) / DECADE)[:, None]
    at, change = np.array([norm.spread for norm in norms]).T
    floor = LEAST_SPREAD * np.array([norm.overall for norm in norms])
    return mean, np.maximum(at + change * decades, floor)


def z_scores(table: Table, names: Sequence[str], values: np.ndarray, people: People) -> np.ndarray:
    """Return z ``(n, regions)``; NaN where a value is. Nothing is asked about where the table holds: ``score`` does."""
    mean, spread = expected(table, names, people)
    return (_scale(values, people, table.kind, table.form) - mean) / spread


def log_density(table: Table, names: Sequence[str], values: np.ndarray, people: People) -> float:
    """Return the mean log density of values nobody was fitted on: what forms are compared by, on one scale."""
    mean, spread = expected(table, names, people)
    z = (_scale(values, people, table.kind, table.form) - mean) / spread
    return float((-0.5 * z**2 - np.log(spread) - 0.5 * np.log(2 * np.pi)).mean())


def why_not(table: Table, age: float, head: float | None) -> str:
    """Why there is no z for somebody of this age and head size, or nothing."""
    low, high = table.ages
    if not low <= age <= high:
        return f"The norms of {table.kind} hold from {low:.0f} to {high:.0f} years."
    if table.heads is not None:
        if head is None or not np.isfinite(head):
            return f"The norms of {table.kind} need the head size (eTIV), and it is not there."
        smallest, largest = table.heads
        if not smallest <= head <= largest:
            return f"The head size is outside the controls' ({smallest / 1e3:.0f} to {largest / 1e3:.0f} ml)."
    return ""


def score(table: Table, name: str, value: float, age: float, male: bool, head: float | None) -> Score:
    """Return z of one value with its error. Raises BadInput where the table does not hold (``why_not``)."""
    reason = why_not(table, age, head)
    if reason:
        raise BadInput(reason)
    one = People(np.array([age]), np.array([float(male)]), np.array([np.nan if head is None else head]))
    z = float(z_scores(table, [name], np.array([[value]]), one)[0, 0])
    x = design(one, table.form)[0]
    spread = float(expected(table, [name], one)[1][0, 0])
    leverage = float(x @ np.array(table.inverse) @ x) * (table.norms[name].overall / spread) ** 2
    return Score(z, float(np.sqrt(leverage + z * z / (2 * (table.n - len(x))))))


def curve(
    table: Table, name: str, ages: Iterable[float], male: bool, head: float | None, z: float
) -> tuple[float, ...]:
    """Return the values (mm3 or mm) that have this z at each age, for one sex and head size."""
    at = np.array(list(ages), float)
    people = People(at, np.full(len(at), float(male)), np.full(len(at), np.nan if head is None else head))
    mean, spread = expected(table, [name], people)
    value = (mean + z * spread)[:, 0]
    if table.form.head == "proportion":
        value = value + np.log(people.head / HEAD_MM3)
    return tuple((np.exp(value) if table.kind == "volume" else value).tolist())


class Norms(_Model):
    """All tables, by kind."""

    tables: dict[Kind, Table]


def read_norms(data: bytes) -> Norms:
    """Read the JSON of norms. Raises BadInput on anything else."""
    try:
        return Norms.model_validate(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise BadInput(f"Not norms: {type(error).__name__}.") from None
