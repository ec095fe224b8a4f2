"""Midline shift as the reader says it: a measure of the study where it can be had, a finding where it is large."""

from collections.abc import Mapping
from dataclasses import dataclass

from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, Measurement, PatientPlace
from readingroom.findings.side import side_of
from readingroom.imaging.resample import along_patient
from readingroom.imaging.volume import Volume
from readingroom.readers.head_ct_triage import midline
from readingroom.readers.head_ct_triage.card import TOLD_MM

STEP_MM = 0.5


@dataclass(frozen=True)
class Shift:
    """What goes into the reading; nothing of both where no shift could be measured."""

    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()


def measured(volume: Volume, headers: Mapping[str, str]) -> Shift:
    """Return the midline shift of an axial head CT in HU."""
    found = midline.measure(along_patient(volume, STEP_MM))
    if isinstance(found, midline.NoMidline):
        return Shift()
    amount = Measurement(
        code=code("midline-shift"),
        value=round(abs(found.shift_mm), 1),
        unit=code("mm"),
        method=f"symmetry of the sides against the skull, towards the {found.side}",
    )
    if abs(found.shift_mm) < TOLD_MM:
        return Shift((amount,))
    x, y, z = (round(float(c), 3) for c in found.place)
    finding = Finding(
        id="midline-shift",
        code=code("midline-shift"),
        place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
        measurements=(amount,),
        side=side_of((x, y, z), volume, headers),
        evidence=Evidence(
            rule=f"The midline lies {abs(found.shift_mm):.1f} mm off the skull's; told from {TOLD_MM:g} mm on.",
            notes=(
                f"Towards the {found.side}. Alike sides about the measured midline: {found.confidence:.0%}.",
                "Measured, not learnt: no patient with a known shift was there to check it on (see the card).",
            ),
        ),
        series_instance_uid=volume.series_instance_uid,
    )
    return Shift((amount,), (finding,))
