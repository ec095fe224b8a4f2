"""Nodules for the tests of the rules: one line each."""

from dataclasses import dataclass

from readingroom.findings.codes import code
from readingroom.findings.model import Assessment, Finding, Measurement, PatientPlace, Side, SideWitness
from readingroom.findings.rules import characteristic

FRAME = "1.2.3.4.5"


@dataclass(frozen=True)
class Before:
    days_before: int
    findings: tuple[Finding, ...]


def nodule(
    texture: str = "solid",
    long: float | None = None,
    short: float | None = None,
    *,
    volume: float | None = None,
    solid: float | None = None,
    at: tuple[float, float, float] = (50.0, 20.0, -100.0),
    frame: str = FRAME,
    side: str = "left",
    tracking: str = "",
    category: str = "",
    **said: str,
) -> Finding:
    mm, sizes = code("mm"), []
    if long is not None:
        sizes.append(Measurement(code=code("long-axis"), value=long, unit=mm))
        sizes.append(Measurement(code=code("short-axis"), value=long if short is None else short, unit=mm))
    if volume is not None:
        sizes.append(Measurement(code=code("volume"), value=volume, unit=code("mm3")))
    if solid is not None:
        sizes.append(Measurement(code=code("solid-part-diameter"), value=solid, unit=mm))
    textures = (characteristic("density-type", texture),) if texture else ()
    return Finding(
        id=f"n{at}{long}",
        code=code("nodule"),
        place=PatientPlace(frame_of_reference_uid=frame, position_lps_mm=at),
        measurements=tuple(sizes),
        characteristics=textures + tuple(characteristic(concept, value) for concept, value in said.items()),
        assessments=(lung_rads(category),) if category else (),
        side=Side(value=side, witnesses=(SideWitness(witness="geometry", side=side),), agree=True),
        site=code("lung"),
        tracking_uid=tracking,
        tracking_id=f"t-{tracking}" if tracking else "",
    )


def lung_rads(category: str) -> Assessment:
    from readingroom.findings.rules import table

    return Assessment(
        table="Lung-RADS", edition="2022", category=table("lung-rads").categories[category].coded(), rule="then"
    )
