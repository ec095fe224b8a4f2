"""Growth between two studies, and how sure that is.

Volume doubling time after Schwartz (Cancer 1961;14:1272-1294): exponential growth, ``t ln 2 / ln(V2 / V1)``. Volumes of
one nodule scanned twice the same day differ by up to 25 %, so a change of at least 25 % counts as real (Gietema,
Radiology 2006;241:251-257; van Klaveren, N Engl J Med 2009;361:2221-2229; Callister, Thorax 2015;70 suppl 2).
"""

import math
from dataclasses import dataclass

from readingroom.core.errors import BadInput
from readingroom.findings.codes import code
from readingroom.findings.model import Measurement
from readingroom.findings.rules.facts import Measured, mean_diameter_mm, rounded, solid_diameter_mm, volume_mm3

SIGNIFICANT = 0.25
"""Share of the earlier volume by which a volume must change to count."""


@dataclass(frozen=True)
class Growth:
    """Change since an earlier study. None: not measured on both sides, or no growth (doubling times)."""

    days: int
    diameter_mm: float | None
    """Change of mean diameter."""
    solid_mm: float | None
    """Change of the solid part's mean diameter."""
    volume_percent: float | None
    significant: bool
    """Whether the volume changed by 25 % at least."""
    doubling_days: float | None
    doubling_range: tuple[float, float | None] | None
    """The doubling times if the ratio of volumes were 25 % larger or smaller; None at the end: perhaps no growth."""
    from_diameters: bool
    """Volumes of spheres of the mean diameters stood in for measured ones."""

    def words(self) -> str:
        """Return the change in a sentence with its uncertainty."""
        parts = [] if self.diameter_mm is None else [f"mean diameter {self.diameter_mm:+.1f} mm"]
        if self.volume_percent is not None:
            how = " (of spheres of the mean diameters)" if self.from_diameters else ""
            what = f"volume {self.volume_percent:+.0f} %{how}"
            parts.append(what if self.significant else f"{what}, within the 25 % by which measuring alone varies")
        if self.doubling_days is not None and self.doubling_range is not None and self.significant:
            low, high = self.doubling_range
            ends = f"{low:.0f} to {high:.0f}" if high is not None else f"from {low:.0f}, perhaps no growth"
            parts.append(f"doubling time {self.doubling_days:.0f} days ({ends} with volumes 25 % uncertain)")
        return f"In {self.days} days: {', '.join(parts) or 'no size to compare'}."

    def measurements(self) -> tuple[Measurement, ...]:
        """Return the change as measurements of the finding; a doubling time only where the change is significant."""
        method = f"against the study {self.days} days before"
        found = []
        if self.diameter_mm is not None:
            found.append(
                Measurement(code=code("diameter-change"), value=self.diameter_mm, unit=code("mm"), method=method)
            )
        if self.volume_percent is not None:
            how = f"{method}, volumes of spheres of the mean diameters" if self.from_diameters else method
            found.append(
                Measurement(
                    code=code("volume-change"), value=rounded(self.volume_percent, 1), unit=code("percent"), method=how
                )
            )
            if self.doubling_days is not None and self.significant:
                found.append(
                    Measurement(
                        code=code("volume-doubling-time"), value=rounded(self.doubling_days, 0), unit=code("day"),
                        method=f"Schwartz 1961, {how}",
                    )
                )  # fmt: skip
        return tuple(found)


def volume_doubling_days(before_mm3: float, after_mm3: float, days: float) -> float | None:
    """Return the days in which the volume doubles; None where it did not grow.

    Raises BadInput unless volumes and time are above zero.
    """
    if not (before_mm3 > 0 and after_mm3 > 0 and days > 0):
        raise BadInput("Volumes and the time between them must be above zero.")
    return days * math.log(2) / math.log(after_mm3 / before_mm3) if after_mm3 > before_mm3 else None


def compare(current: Measured, prior: Measured, days: int) -> Growth:
    """Return how a finding changed in ``days`` since ``prior``. Raises BadInput for ``days`` below 1."""
    if days < 1:
        raise BadInput("The studies to compare are at least a day apart.")
    now_mm, then_mm = mean_diameter_mm(current), mean_diameter_mm(prior)
    now_mm3, then_mm3 = volume_mm3(current), volume_mm3(prior)
    from_diameters = not now_mm3 or not then_mm3
    if from_diameters:
        now_mm3, then_mm3 = _sphere(now_mm), _sphere(then_mm)
    ratio = now_mm3 / then_mm3 if now_mm3 and then_mm3 else None
    doubling = volume_doubling_days(then_mm3, now_mm3, days) if now_mm3 and then_mm3 else None
    return Growth(
        days=days,
        diameter_mm=_change(now_mm, then_mm),
        solid_mm=_change(solid_diameter_mm(current), solid_diameter_mm(prior)),
        volume_percent=100 * (ratio - 1) if ratio is not None else None,
        significant=ratio is not None and abs(ratio - 1) >= SIGNIFICANT - 1e-9,
        doubling_days=doubling,
        doubling_range=_range(ratio, days) if ratio is not None and doubling is not None else None,
        from_diameters=from_diameters and ratio is not None,
    )


def _range(ratio: float, days: int) -> tuple[float, float | None]:
    low = days * math.log(2) / math.log(ratio * (1 + SIGNIFICANT))
    least = ratio / (1 + SIGNIFICANT)
    return low, days * math.log(2) / math.log(least) if least > 1 + 1e-9 else None


def _sphere(diameter_mm: float | None) -> float | None:
    return None if diameter_mm is None else math.pi / 6 * diameter_mm**3


def _change(now: float | None, then: float | None) -> float | None:
    return None if now is None or then is None else rounded(now - then, 1)
