"""Measures of another program to Comprehensive 3D SR, template TID 1500, so that they travel with the study.

One plain group (TID 1501) holds them all, each coded in the program's own scheme. ``intake/measured.py`` reads it back.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from highdicom.sr import (
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    TrackingIdentifier,
)
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from readingroom.core.errors import BadInput
from readingroom.core.ids import derived_uid
from readingroom.core.sealed import Source
from readingroom.objects.common import MANUFACTURER, MODEL, finish, named
from readingroom.objects.content import ReportContent
from readingroom.objects.source import read_sources, short


def encode_measures(
    measured: Mapping[str, tuple[float, str]], scheme: str, program: str, source: Source, at: datetime
) -> bytes:
    """Return the SR's Part 10 bytes. ``measured``: code value -> (value, short name of its unit's code); ``scheme``:
    the designator of these codes, ``program`` whose they are; ``source``: an image of the study it shall belong to;
    ``at``: when it was written, with zone.

    The same arguments always give the same bytes. Raises BadInput for no measure, or a source that cannot be used.
    """
    if not measured:
        raise BadInput("There is no measure to write.")
    sources, header = read_sources([source])
    told = json.dumps([scheme, program, sorted(measured.items())])
    content = ReportContent(
        header=header, revision=0, at=at, seed=f"{sources[0].SOPInstanceUID} {told}", sources=sources
    )
    document = Comprehensive3DSR(
        evidence=list(sources),
        content=_report(measured, scheme, program, content)[0],
        series_instance_uid=content.uid("measures", "series"),
        series_number=910,
        sop_instance_uid=content.uid("measures"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=short(f"Measures of {program}", 64),
        specific_character_set="ISO_IR 192",
    )
    named_scheme = Dataset()
    named_scheme.CodingSchemeDesignator, named_scheme.CodingSchemeName = scheme, program
    document.CodingSchemeIdentificationSequence = [named_scheme]
    return finish(document, content)


def _report(
    measured: Mapping[str, tuple[float, str]], scheme: str, program: str, content: ReportContent
) -> MeasurementReport:
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", program), name=program, manufacturer_name=program
    )
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=content.uid("measures", "tracking"), identifier=program),
        measurements=[
            Measurement(name=CodedConcept(name, scheme, short(name, 64)), value=float(f"{value:.6g}"), unit=named(unit))
            for name, (value, unit) in sorted(measured.items())
        ],
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device)),
        procedure_reported=named("imaging-procedure"),
        imaging_measurements=[group],
    )
