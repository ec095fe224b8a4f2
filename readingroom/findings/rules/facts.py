"""What the rules read in a finding: its sizes, rounded as each standard says, and its characteristics."""

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Protocol

from readingroom.core.errors import BadInput
from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Characteristic, Measurement
from readingroom.findings.rules.tables import Kind

CHARACTERISTICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "density-type": ("solid", "part-solid", "ground-glass"),
        "spiculation": ("present", "finding-absent"),
        "lobulation": ("present", "finding-absent"),
        "margins": ("smooth", "irregular"),
        "calcification": ("present", "benign-calcification", "finding-absent"),
        "content": ("fat",),
        "attachment": ("free", "juxtapleural", "perifissural", "perivascular"),
        "shape": ("round", "ovoid", "lentiform", "triangular", "irregular"),
        "airway": ("airway-subsegmental", "airway-central"),
        "cyst": ("cyst-thin", "cyst-thick", "cyst-multilocular"),
    }
)
"""Short name of each concept (``codes.json``) -> short names of its values."""

LIKELY = 0.5
"""A characteristic that a reader gives less than this probability is not taken for a fact."""
MEASURES = ("volume", "long-axis", "short-axis", "diameter", "solid-part-diameter", "attenuation")


class Measured(Protocol):
    """A finding, or what it was in an earlier study."""

    @property
    def measurements(self) -> tuple[Measurement, ...]: ...
    @property
    def characteristics(self) -> tuple[Characteristic, ...]: ...
    @property
    def axes(self) -> tuple[Axis, ...]: ...


def characteristic(concept: str, value: str, probability: float | None = None) -> Characteristic:
    """Return a characteristic by short names, e.g. ``characteristic("density-type", "part-solid", 0.8)``.

    Raises BadInput for a value the concept doesn't have.
    """
    if value not in CHARACTERISTICS.get(concept, ()):
        raise BadInput(f"{concept!r} cannot be {value!r}.", "CHARACTERISTICS lists what can be said.")
    return Characteristic(concept=code(concept), value=code(value), probability=probability)


def characteristics_of(finding: Measured) -> dict[str, str]:
    """Return what is said of a finding by short names, concept -> value; the likeliest value where several are given.

    Values under ``LIKELY`` are left out; what a person said (no probability) counts as certain.
    """
    best: dict[str, tuple[float, str]] = {}
    for one in finding.characteristics:
        concept = next((name for name in CHARACTERISTICS if code(name).value == one.concept.value), None)
        if concept is None:
            continue
        value = next((name for name in CHARACTERISTICS[concept] if code(name) == one.value), None)
        probability = 1.0 if one.probability is None else one.probability
        if value is not None and probability >= LIKELY and probability > best.get(concept, (0.0, ""))[0]:
            best[concept] = (probability, value)
    return {concept: value for concept, (_, value) in best.items()}


def measurements_of(finding: Measured) -> dict[str, float]:
    """Return the sizes of a finding by short name (``MEASURES``): mm, mm3 and HU; drawn axes count before numbers."""
    found = {name: one.value for name in MEASURES for one in finding.measurements if one.code.value == code(name).value}
    return found | {f"{axis.role}-axis": math.dist(axis.start_lps_mm, axis.end_lps_mm) for axis in finding.axes}


def mean_diameter_mm(finding: Measured) -> float | None:
    """Return the mean of long and short axis, each and the mean to one decimal (Lung-RADS 2022); None: not measured."""
    sizes = measurements_of(finding)
    if "long-axis" in sizes and "short-axis" in sizes:
        return rounded((rounded(sizes["long-axis"], 1) + rounded(sizes["short-axis"], 1)) / 2, 1)
    only = sizes.get("diameter", sizes.get("long-axis"))
    return None if only is None else rounded(only, 1)


def whole_diameter_mm(finding: Measured) -> float | None:
    """Return the mean of long and short axis to the nearest whole millimetre (Fleischner 2017); None: not measured."""
    sizes = measurements_of(finding)
    if "long-axis" in sizes and "short-axis" in sizes:
        return rounded((sizes["long-axis"] + sizes["short-axis"]) / 2, 0)
    only = sizes.get("diameter", sizes.get("long-axis"))
    return None if only is None else rounded(only, 0)


def solid_diameter_mm(finding: Measured) -> float | None:
    """Return the mean diameter of the solid part, to one decimal; None: not measured."""
    value = measurements_of(finding).get("solid-part-diameter")
    return None if value is None else rounded(value, 1)


def volume_mm3(finding: Measured) -> float | None:
    return measurements_of(finding).get("volume")


def kind_of(said: Mapping[str, str]) -> Kind | None:
    """Return which kind of nodule the tables would take it for; None where nobody said its density type."""
    if airway := said.get("airway"):
        return "airway-central" if airway == "airway-central" else "airway-subsegmental"
    kinds: dict[str, Kind] = {
        "cyst-thin": "cyst-thin", "cyst-thick": "cyst-thick", "cyst-multilocular": "cyst-multilocular",
        "solid": "solid", "part-solid": "part-solid", "ground-glass": "ground-glass",
    }  # fmt: skip
    if cyst := said.get("cyst"):
        return kinds[cyst]
    if said.get("calcification") == "benign-calcification" or said.get("content") == "fat":
        return "benign"
    density = said.get("density-type")
    if (
        density == "solid"
        and said.get("attachment") in ("juxtapleural", "perifissural")
        and said.get("margins") == "smooth"
        and said.get("shape") in ("ovoid", "lentiform", "triangular")
    ):
        return "juxtapleural"
    return kinds[density] if density else None


def rounded(value: float, digits: int) -> float:
    """Round half up, as people do: 5.95 mm is 6.0 mm although its binary lies below."""
    return float(Decimal(repr(round(value, 9))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def is_nodule(code_value: str) -> bool:
    return code_value == code("nodule").value
