"""Agreement of readers: kappa for categories, intraclass correlation and Bland-Altman's limits for numbers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from readingroom.evaluation.estimate import LEVEL, Estimate

Weights = Literal["none", "linear", "quadratic"]
Z = float(stats.norm.ppf(0.5 + LEVEL / 2))


def cohen_kappa(first: np.ndarray, second: np.ndarray, weights: Weights = "none") -> Estimate:
    """Return Cohen's kappa of two readers' categories (Cohen 1960, 1968), with the large-sample interval of Fleiss
    1969.

    ``first`` and ``second``: ``(n,)``; ordered categories are weighed by rank where weights are asked for. Raises
    ValueError where both always say the same one thing: chance alone explains it and kappa is undefined.
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError("two readers' categories of the same cases are needed")
    names, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    k, n = len(names), len(first)
    table = np.zeros((k, k))
    np.add.at(table, (places[:n], places[n:]), 1 / n)
    gap = np.abs(np.arange(k)[:, None] - np.arange(k)[None]) / max(k - 1, 1)
    weight = {"none": (gap == 0).astype(float), "linear": 1 - gap, "quadratic": 1 - gap**2}[weights]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, chance = float((weight * table).sum()), float(rows @ weight @ columns)
    if 1 - chance < 1e-12:
        raise ValueError("both readers always say the same one thing: kappa is undefined")
    kappa = (observed - chance) / (1 - chance)
    mean_rows, mean_columns = weight @ columns, rows @ weight
    inner = weight - (mean_rows[:, None] + mean_columns[None]) * (1 - kappa)
    variance = ((table * inner**2).sum() - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    return _within(kappa, max(float(variance), 0.0) ** 0.5, n, "Fleiss, Cohen and Everitt 1969")


def fleiss_kappa(counts: np.ndarray) -> Estimate:
    """Return Fleiss' kappa (1971): ``counts`` ``(cases, categories)`` says how many readers chose each; rows sum
    alike.
    """
    counts = np.asarray(counts, float)
    readers = counts.sum(axis=1)
    if counts.ndim != 2 or not len(counts) or (readers != readers[0]).any() or readers[0] < 2:
        raise ValueError("every case needs the same number of readers, two at least")
    n, m = len(counts), float(readers[0])
    share = counts.sum(axis=0) / (n * m)
    observed = float(((counts**2).sum(axis=1) - m).mean() / (m * (m - 1)))
    chance = float((share**2).sum())
    if 1 - chance < 1e-12:
        raise ValueError("all readers always say the same one thing: kappa is undefined")
    # The standard error under the null hypothesis understates: the case-wise jackknife holds off it too.
    left = [_fleiss(np.delete(counts, case, axis=0), m) for case in range(n)] if n > 2 else []
    error = float(np.sqrt((n - 1) / n * ((np.array(left) - np.mean(left)) ** 2).sum())) if left else float("nan")
    return _within((observed - chance) / (1 - chance), error, n, "jackknife over cases")


def _fleiss(counts: np.ndarray, m: float) -> float:
    share = counts.sum(axis=0) / (len(counts) * m)
    chance = float((share**2).sum())
    observed = float(((counts**2).sum(axis=1) - m).mean() / (m * (m - 1)))
    return (observed - chance) / (1 - chance) if 1 - chance > 1e-12 else 1.0


def _within(kappa: float, error: float, n: int, method: str) -> Estimate:
    kappa = float(np.clip(kappa, -1, 1))
    if not np.isfinite(error):
        return Estimate(value=kappa, low=None, high=None, n=n, method=f"{method}: no interval, too few cases")
    low, high = max(-1.0, kappa - Z * error), min(1.0, kappa + Z * error)
    return Estimate(value=kappa, low=low, high=high, n=n, method=method)


def icc(ratings: np.ndarray) -> Estimate:
    """Return ICC(2,1): two-way random effects, absolute agreement, one reader (Shrout and Fleiss 1979, Psychol Bull
    86:420).

    ``ratings`` ``(cases, readers)`` without gaps. The interval is McGraw and Wong's (1996, Psychol Methods 1:30).
    """
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or min(ratings.shape) < 2 or not np.isfinite(ratings).all():
        raise ValueError("at least two cases by two readers without gaps are needed")
    n, k = ratings.shape
    mean = ratings.mean()
    rows = k * ((ratings.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    columns = n * ((ratings.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    rest = ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0, keepdims=True) + mean
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    if below <= 0:
        raise ValueError("all ratings are the same: there is nothing to agree about")
    value = float((rows - error) / below)
    if error == 0 and columns == 0:
        return Estimate(value=value, low=1.0, high=1.0, n=n, method="McGraw and Wong 1996")
    a = k * value / (n * (1 - value)) if value < 1 else np.inf
    b = 1 + k * value * (n - 1) / (n * (1 - value)) if value < 1 else np.inf
    freedom = (a * columns + b * error) ** 2 / ((a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    tail = 0.5 + LEVEL / 2
    upper, lower = float(stats.f.ppf(tail, n - 1, freedom)), float(stats.f.ppf(tail, freedom, n - 1))
    spread = k * columns + (k * n - k - n) * error
    low = n * (rows - upper * error) / (upper * spread + n * rows)
    high = n * (lower * rows - error) / (spread + n * lower * rows)
    return Estimate(value=value, low=float(low), high=float(high), n=n, method="McGraw and Wong 1996")


@dataclass(frozen=True)
class BlandAltman:
    """``bias`` = mean of first - second with its t interval; limits of agreement at bias -/+ 1.96 SD, each with its
    own.
    """

    bias: Estimate
    lower: Estimate
    upper: Estimate


def bland_altman(first: np.ndarray, second: np.ndarray) -> BlandAltman:
    """Return bias and limits of agreement (Bland and Altman 1986, Lancet 327:307; intervals as there, section
    Precision).
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    n = len(difference)
    if difference.ndim != 1 or n < 3 or not np.isfinite(difference).all():
        raise ValueError("at least three pairs of numbers are needed")
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    t = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))

    def around(value: float, error: float) -> Estimate:
        return Estimate(value=value, low=value - t * error, high=value + t * error, n=n, method="Bland and Altman 1986")

    wide = sd * (3 / n) ** 0.5
    return BlandAltman(around(bias, sd / n**0.5), around(bias - Z * sd, wide), around(bias + Z * sd, wide))
