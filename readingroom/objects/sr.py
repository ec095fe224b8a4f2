"""A reading or a signed report to Comprehensive 3D SR, template TID 1500 (Measurement Report).

Findings with a segment become volumetric groups (TID 1411) that refer to the SEG, findings at a point planar groups
(TID 1410) with SCOORD3D or SCOORD, findings without a place plain groups (TID 1501). What is said about the whole
study (reader states, narrative, notices) stands in the Qualitative Evaluations of TID 1500, rows 12 to 14, so that a
document without findings is still a document that says why.

A signed report takes up what readers wrote: their SRs are its predecessor documents, and the section of verdicts says
of each of their findings, by its tracking UID, what became of it, by whom, when and why.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CompositeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    GraphicTypeValues3D,
    ImageContentItem,
    ImageRegion,
    ImageRegion3D,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    PnameContentItem,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForRegion,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage

from readingroom.core.errors import BadInput
from readingroom.core.ids import derived_uid, is_uid
from readingroom.findings.codes import OWN_SCHEME, code, system
from readingroom.findings.model import Finding, ImagePlace, PatientPlace
from readingroom.findings.model import Measurement as FindingMeasurement
from readingroom.objects.common import MANUFACTURER, MODEL, concept, finish, named
from readingroom.objects.content import (
    ENCODER_VERSION,
    AddendumText,
    ContentFinding,
    ObjectRef,
    ReaderRun,
    ReportContent,
    dicom_datetime,
)
from readingroom.objects.seg import SegObject
from readingroom.objects.source import account_name, plain_text, short
from readingroom.objects.sr_assessments import characteristic_item, finding_item, study_item
from readingroom.objects.words import length_of, reader_sentence

# The same device wrote every document of these encoders.
_DEVICE_UID = derived_uid("device", MODEL, ENCODER_VERSION)
_CONTAINS = RelationshipTypeValues.CONTAINS
_CONTEXT = RelationshipTypeValues.HAS_OBS_CONTEXT
_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES
_Group = (
    MeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)
_SECTION_CODES = {
    "indication": "history",
    "technique": "procedure-description",
    "comparison": "prior-procedure",
    "findings": "findings",
    "impression": "impression",
}


def encode_sr(content: ReportContent, segs: Sequence[SegObject] = ()) -> bytes:
    """Return the SR's Part 10 bytes; ``segs`` are the content's own, from ``encode_segs``.

    COMPLETE; VERIFIED and FINAL with its verifying observer when a person signed, else UNVERIFIED and PRELIMINARY.
    Raises BadInput where there is no source image.
    """
    if not content.sources:
        raise BadInput("An SR needs the images it is about.")
    judged = [_header(content, ref) for ref in content.judged.values()]
    document = Comprehensive3DSR(
        evidence=[*content.sources, *(seg.dataset for seg in segs), *judged],
        content=_root(content, segs),
        series_instance_uid=content.first.uid("sr", "series"),
        series_number=900,
        sop_instance_uid=content.uid("sr"),
        instance_number=1 + len(content.addenda),
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        is_complete=True,
        is_final=content.verified,
        is_verified=content.verified,
        verifying_observer_name=account_name(content.verifier.name) if content.verifier else None,
        verifying_organization=_organization(content) if content.verifier else None,
        previous_versions=_predecessors(content, judged) or None,
        series_description=("Report (signed)" if content.verified else "AI reading (unverified)"),
        specific_character_set="ISO_IR 192",
    )
    if content.verified:
        document.VerifyingObserverSequence = _verifying_observers(content)
    if any(e.value == OWN_SCHEME for e in document.iterall() if e.keyword == "CodingSchemeDesignator"):
        document.CodingSchemeIdentificationSequence = [_own_scheme()]
    return finish(document, content)


def _predecessors(content: ReportContent, judged: Sequence[Dataset]) -> list[Dataset]:
    """Return what this document takes up: the readers' documents; with an addendum, the report it is added to."""
    if not content.addenda:
        return list(judged)
    before = replace(content, addenda=content.addenda[:-1])
    report = ObjectRef(
        SOPClassUID=Comprehensive3DSRStorage,
        SOPInstanceUID=before.uid("sr"),
        SeriesInstanceUID=content.first.uid("sr", "series"),
    )
    return [_header(content, report), *judged]


def _header(content: ReportContent, ref: ObjectRef) -> Dataset:
    """Return the little that highdicom wants of an object of this study to refer to it."""
    ds = Dataset()
    ds.StudyInstanceUID = content.sources[0].StudyInstanceUID
    for keyword, uid in ref.model_dump().items():
        setattr(ds, keyword, uid)
    return ds


def _verifying_observers(content: ReportContent) -> list[Dataset]:
    """Return who signed the report, and who signed each addendum, each with the time of their signature."""
    assert content.verifier is not None
    signed = [(content.verifier.name, content.at), *((one.author, one.at) for one in content.addenda)]
    observers = []
    for name, at in signed:
        observer = Dataset()
        observer.VerifyingObserverName = account_name(name)
        observer.VerifyingOrganization = _organization(content)
        observer.VerificationDateTime = dicom_datetime(at, content.zone)
        observer.VerifyingObserverIdentificationCodeSequence = []
        observers.append(observer)
    return observers


def _own_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = OWN_SCHEME
    item.CodingSchemeUID = (system(OWN_SCHEME) or "").removeprefix("urn:oid:")
    item.CodingSchemeName = "Codes of Reading Room"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item


def _organization(content: ReportContent) -> str:
    stated = content.verifier.organization if content.verifier else ""
    from_images = str(content.sources[0].get("InstitutionName", ""))
    # Type 1: it may not be empty.
    return short(stated or from_images, 64) or "Organization not recorded"


def _root(content: ReportContent, segs: Sequence[SegObject]) -> Dataset:
    root = ContainerContentItem(name=named("measurement-report"), template_id="1500")
    items = ContentSequence()
    items.extend(LanguageOfContentItemAndDescendants(CodedConcept("en", "RFC5646", "English")))
    items.extend(_observers(content))
    items.append(
        CodeContentItem(named("procedure-reported"), named("imaging-procedure"), RelationshipTypeValues.HAS_CONCEPT_MOD)
    )
    items.append(_image_library(content))
    if content.findings:
        groups = ContainerContentItem(named("imaging-measurements"), relationship_type=_CONTAINS)
        groups.ContentSequence = ContentSequence()
        for index, item in enumerate(content.findings):
            groups.ContentSequence.extend(_group(content, index, item, segs))
        items.append(groups)
    if content.verdicts:
        items.append(_verdicts(content))
    items.append(_whole_study(content))
    root.ContentSequence = items
    return root


def _observers(content: ReportContent) -> ObservationContext:
    person = None
    if content.verifier:
        person = ObserverContext(
            codes.DCM.Person,
            PersonObserverIdentifyingAttributes(
                name=account_name(content.verifier.name), organization_name=_organization(content)
            ),
        )
    device = ObserverContext(
        codes.DCM.Device,
        DeviceObserverIdentifyingAttributes(
            uid=_DEVICE_UID, name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MODEL
        ),
    )
    return ObservationContext(observer_person_context=person, observer_device_context=device)


def _image_library(content: ReportContent) -> ContainerContentItem:
    # One group per series: TID 1602 lets images of a group share their descriptors.
    library = ContainerContentItem(named("image-library"), relationship_type=_CONTAINS)
    library.ContentSequence = ContentSequence()
    for series in dict.fromkeys(str(ds.SeriesInstanceUID) for ds in content.sources):
        images = [ds for ds in content.sources if ds.SeriesInstanceUID == series and "Rows" in ds]
        if not images:
            continue
        group = ContainerContentItem(named("image-library-group"), relationship_type=_CONTAINS)
        group.ContentSequence = ContentSequence()
        if images[0].Modality in ("CT", "MR"):
            modality = CodeContentItem(
                named("modality"), named(images[0].Modality), RelationshipTypeValues.HAS_ACQ_CONTEXT
            )
            group.ContentSequence.append(modality)
        for ds in images:
            group.ContentSequence.append(
                ImageContentItem(codes.DCM.SourceImage, ds.SOPClassUID, ds.SOPInstanceUID, relationship_type=_CONTAINS)
            )
        library.ContentSequence.append(group)
    return library


def _group(content: ReportContent, index: int, item: ContentFinding, segs: Sequence[SegObject]) -> _Group:
    finding = item.finding
    shared: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=content.tracking_uid(finding), identifier=short(content.tracking_id(finding), 64)
        ),
        "finding_type": concept(finding.code),
        "algorithm_id": _algorithm(item.reader) if item.reader else None,
        "finding_sites": [_site(item)] if finding.site else None,
        "measurements": _measurements(item),
        "qualitative_evaluations": _evaluations(item),
    }
    group: _Group
    seg = next((seg for seg in segs if index in seg.segment_of), None)
    if seg is not None:
        group = VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=_segment(content, item, seg, seg.segment_of[index]), **shared
        )
    elif isinstance(finding.place, PatientPlace):
        region = ImageRegion3D(
            GraphicTypeValues3D.POINT,
            np.array([finding.place.position_lps_mm], float),
            _frame_of_reference(content, finding, finding.place),
        )
        group = PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **shared)
    elif isinstance(finding.place, ImagePlace):
        group = PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=_image_region(content, finding.place), **shared
        )
    else:
        group = MeasurementsAndQualitativeEvaluations(**shared)
    for text in _remarks(content, item):
        group[0].ContentSequence.append(TextContentItem(named("comment"), plain_text(text), _CONTAINS))
    return group


def _frame_of_reference(content: ReportContent, finding: Finding, place: PatientPlace) -> str:
    """Return the place's frame of reference; that of its tidy source images where the received ones named none."""
    if is_uid(place.frame_of_reference_uid):
        return place.frame_of_reference_uid
    images = [ds for ds in content.sources if ds.get("SeriesInstanceUID") == finding.series_instance_uid]
    return str((images or content.sources)[0].FrameOfReferenceUID)


def _segment(content: ReportContent, item: ContentFinding, seg: SegObject, number: int) -> ReferencedSegment:
    assert item.mask is not None
    class_of = {ds.SOPInstanceUID: ds.SOPClassUID for ds in content.sources}
    images = [
        SourceImageForSegmentation(class_of[uid], uid)
        for uid, plane in zip(item.mask.sop_instance_uids, item.mask.mask, strict=True)
        if plane.any()
    ]
    return ReferencedSegment(
        sop_class_uid=seg.dataset.SOPClassUID,
        sop_instance_uid=seg.dataset.SOPInstanceUID,
        segment_number=number,
        source_images=images,
    )


def _image_region(content: ReportContent, place: ImagePlace) -> ImageRegion:
    class_of = {ds.SOPInstanceUID: ds.SOPClassUID for ds in content.sources}
    if place.sop_instance_uid not in class_of:
        raise BadInput("A finding names an image that is not among the source images.")
    frames = [place.frame] if place.frame > 1 else None
    # SCOORD counts from the corner of the first pixel, places from its centre (PS3.3 C.18.6.1.1).
    return ImageRegion(
        GraphicTypeValues.POINT,
        np.array([[place.column + 0.5, place.row + 0.5]]),
        SourceImageForRegion(class_of[place.sop_instance_uid], place.sop_instance_uid, frames),
    )


def _site(item: ContentFinding) -> FindingSite:
    assert item.finding.site is not None
    side = item.finding.side
    return FindingSite(
        anatomic_location=concept(item.finding.site),
        laterality=named(side.value) if side and side.value else None,
    )


def _algorithm(run: ReaderRun) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=run.name, version=run.version, parameters=list(run.parameters()), family=concept(run.family)
    )


def _measurements(item: ContentFinding) -> list[Measurement]:
    """Return the measurements, the length of each axis among them, and the probability.

    An axis is a length and no line: TID 1410 and 1411 let no measurement refer to coordinates but the region's.
    """
    given = {one.code.value for one in item.finding.measurements}
    lengths = [
        FindingMeasurement(code=code(f"{axis.role}-axis"), value=length_of(axis), unit=code("mm"))
        for axis in item.finding.axes
        if code(f"{axis.role}-axis").value not in given
    ]
    measured = [_measurement(one) for one in (*item.finding.measurements, *lengths)]
    if item.finding.probability is not None:
        percent = float(np.round(100 * item.finding.probability, 4))
        measured.append(Measurement(name=named("certainty"), value=percent, unit=named("percent")))
    return measured


def _measurement(one: FindingMeasurement) -> Measurement:
    # NUM values travel as DS, 16 characters: nine significant digits always fit.
    return Measurement(name=concept(one.code), value=float(f"{one.value:.9g}"), unit=concept(one.unit))


def _evaluations(item: ContentFinding) -> list[QualitativeEvaluation]:
    side = item.finding.side
    evaluations = [characteristic_item(one) for one in item.finding.characteristics]
    evaluations += [found for one in item.finding.assessments if (found := finding_item(one)) is not None]
    if item.finding.site is None and side is not None and side.value is not None:
        evaluations.append(QualitativeEvaluation(named("laterality"), named(side.value)))
    return evaluations


def _remarks(content: ReportContent, item: ContentFinding) -> list[str]:
    remarks = []
    if item.decision == "unread":
        remarks.append("Not verified by a person.")
    else:
        when = f" at {dicom_datetime(item.at, content.zone)}" if item.at else ""
        by = f" by {item.by}" if item.by else ""
        remarks.append(f"{item.decision.capitalize()}{by}{when}.")
    methods = [f"{one.code.meaning}: {one.method}" for one in item.finding.measurements if one.method]
    texts = [item.text, item.finding.comment, *methods]
    return remarks + [text for text in texts if text]


def _verdicts(content: ReportContent) -> ContainerContentItem:
    """Return what became of each finding of a reader, whether it is in this report or not."""
    section = ContainerContentItem(named("verdicts"), relationship_type=_CONTAINS)
    section.ContentSequence = ContentSequence()
    for verdict in content.verdicts:
        item = ContainerContentItem(named("verdict"), relationship_type=_CONTAINS)
        tracking_uid = content.tracked(verdict.tracking_uid, verdict.finding_id)
        items = ContentSequence(TrackingIdentifier(tracking_uid, short(verdict.tracking_id, 64) or "finding"))
        if verdict.by:
            items.append(PnameContentItem(named("person-observer-name"), account_name(verdict.by), _CONTEXT))
        if verdict.at:
            item.add_new("ObservationDateTime", "DT", dicom_datetime(verdict.at, content.zone))
        if document := content.judged.get(verdict.reading_id):
            items.append(
                CompositeContentItem(named("judged-document"), document.SOPClassUID, document.SOPInstanceUID, _CONTAINS)
            )
        decision = CodeContentItem(named("decision"), named(verdict.decision), _CONTAINS)
        why = ContentSequence()
        if verdict.reason:
            why.append(CodeContentItem(named("reason"), concept(verdict.reason), _PROPERTIES))
        if verdict.text:
            why.append(TextContentItem(named("comment"), plain_text(verdict.text), _PROPERTIES))
        if why:
            decision.ContentSequence = why
        items.append(decision)
        item.ContentSequence = items
        section.ContentSequence.append(item)
    return section


def _addendum(content: ReportContent, one: AddendumText) -> TextContentItem:
    item = TextContentItem(named("addendum"), plain_text(one.text), _CONTAINS)
    item.add_new("ObservationDateTime", "DT", dicom_datetime(one.at, content.zone))
    observer = PnameContentItem(named("person-observer-name"), account_name(one.author), _CONTEXT)
    item.ContentSequence = ContentSequence([observer])
    return item


def _whole_study(content: ReportContent) -> ContainerContentItem:
    container = ContainerContentItem(named("qualitative-evaluations"), relationship_type=_CONTAINS)
    items = ContentSequence()

    def say(name: str, text: str) -> None:
        items.append(TextContentItem(named(name), plain_text(text), _CONTAINS))

    say("comment", content.research_notice)
    if not content.verified:
        say("comment", "Unverified: no person has verified what is written here.")
    if content.simulated:
        say("comment", "Simulated images: no patient.")
    if content.partial:
        say("comment", f"Partial study: {content.partial} Absence of a finding means nothing.")
    for run in content.readers:
        say("summary", reader_sentence(run))
    for text in content.flags:
        say("comment", text)
    if content.verified and not content.findings:
        say("comment", "No findings accepted.")
    if content.no_further_findings:
        say("comment", "No further findings.")
        # Coded only where a person said it, of a whole study, and nothing is found: else machines read a negative.
        if content.verified and not content.findings and not content.partial:
            items.append(CodeContentItem(named("finding"), named("finding-absent"), _CONTAINS))
    items.extend(found for one in content.assessments if (found := study_item(one, content)) is not None)
    for section, text in content.sections.model_dump().items():
        if text.strip():
            say(_SECTION_CODES[section], text.strip())
    items.extend(_addendum(content, one) for one in content.addenda)
    container.ContentSequence = items
    return container
