"""A number with its interval and how many cases it rests on; proportions after Wilson."""

from statistics import NormalDist
from typing import Any

from pydantic import BaseModel, ConfigDict

LEVEL = 0.95
"""Of every interval of this library."""
FEW_POSITIVES = 50
"""Below so many positives an estimate is given with its count, and no claim rests on it."""


class Estimate(BaseModel):
    """``value`` with its interval ``low`` to ``high`` at ``LEVEL``, and ``n``: independent cases (patients where told).

    ``method`` names how the interval was made. An interval that can't be had (one case) is None at both ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float | None
    high: float | None
    n: int
    method: str

    def as_metric(self, digits: int = 4) -> dict[str, Any]:
        """Return it as the evaluation file writes it: ``{"value", "ci95": [low, high], "n"}``."""
        ends = [None if end is None else round(end, digits) for end in (self.low, self.high)]
        return {"value": round(self.value, digits), "ci95": ends, "n": self.n}


def proportion(hits: int, n: int) -> Estimate:
    """Return ``hits`` of ``n`` with the score interval of Wilson (1927), JASA 22:209; good for small ``n`` and at 0
    and 1.

    Raises ValueError where ``n`` is 0 or ``hits`` is not within 0..n.
    """
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"{hits} of {n} is no proportion")
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low = 0.0 if hits == 0 else middle - half
    high = 1.0 if hits == n else middle + half
    return Estimate(value=share, low=low, high=high, n=n, method="Wilson score interval")
