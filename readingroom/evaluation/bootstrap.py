"""Percentile bootstrap over patients (Efron and Tibshirani 1993, ch. 13), of one reader and of the difference of
two.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from readingroom.evaluation.estimate import LEVEL, Estimate

DRAWS = 2000
Case = TypeVar("Case")


def bootstrap(
    cases: Sequence[Case], statistic: Callable[[Sequence[Case]], float], seed: int, draws: int = DRAWS
) -> Estimate:
    """Return ``statistic`` of ``cases`` (one entry a patient) with its percentile interval.

    Draws in which the statistic can't be had (ValueError, or NaN: no positive was drawn) are left out; where more than
    half are, there is no interval. Raises ValueError for no case.
    """
    value = float(statistic(cases))
    found = _draws(len(cases), lambda drawn: statistic([cases[i] for i in drawn]), seed, draws)
    return _estimate(value, found, len(cases), draws, seed, "bootstrap over patients")


def paired_difference(
    first: Sequence[Case], second: Sequence[Case], statistic: Callable[[Sequence[Case]], float], seed: int,
    draws: int = DRAWS,
) -> Estimate:  # fmt: skip
    """Return ``statistic(first) - statistic(second)`` for two readers on the same patients, in the same order.

    Each draw takes the same patients for both. Raises ValueError where the lengths differ.
    """
    if len(first) != len(second):
        raise ValueError("both readers must have read the same patients")

    def difference(drawn: Sequence[int]) -> float:
        return float(statistic([first[i] for i in drawn])) - float(statistic([second[i] for i in drawn]))

    value = difference(range(len(first)))
    found = _draws(len(first), difference, seed, draws)
    return _estimate(value, found, len(first), draws, seed, "paired bootstrap over patients")


def by_patient(groups: np.ndarray) -> list[np.ndarray]:
    """Return the indices of each patient's rows, in the order in which patients first appear. ``groups``: ``(n,)``."""
    _, first, inverse = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    place = rank[inverse]
    return [np.flatnonzero(place == n) for n in range(len(first))]


def bootstrap_rows(
    groups: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int, draws: int = DRAWS
) -> Estimate:
    """Return ``statistic(row indices)`` over all rows, resampling whole patients; ``n`` counts patients."""
    patients = by_patient(groups)
    return bootstrap(patients, lambda drawn: statistic(np.concatenate(drawn)), seed, draws)


def _draws(n: int, of: Callable[[Sequence[int]], float], seed: int, draws: int) -> list[float]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = random.integers(n, size=n)
        try:
            value = float(of([int(i) for i in drawn]))
        except ValueError:
            continue
        if np.isfinite(value):
            found.append(value)
    return found


def _estimate(value: float, found: list[float], n: int, draws: int, seed: int, how: str) -> Estimate:
    method = f"{how}, {draws} draws, seed {seed}"
    if n < 2 or len(found) < draws / 2:
        return Estimate(value=value, low=None, high=None, n=n, method=f"{method}: no interval, too few cases")
    low, high = np.percentile(found, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return Estimate(value=value, low=float(low), high=float(high), n=n, method=method)
