"""A signed report to SEG, SR, PDF and FHIR: valid, the same bytes each time, each telling the same."""

import base64
import io
import json
import subprocess
import time
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from content_support import AT, RUN, SmallSeries, box_mask, nodule, small_series, validate
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread
from pydicom.dataset import Dataset
from support import find_tool

from readingroom.core.errors import Conflict
from readingroom.findings.codes import own
from readingroom.findings.model import ReaderState
from readingroom.objects import pdf as pdf_encoder
from readingroom.objects.content import AddendumText, FindingVerdict, ObjectRef, ReaderRun, StudyHeader
from readingroom.objects.pdf import render_pdf
from readingroom.report.draft import draft
from readingroom.report.model import (
    Flag,
    ReportBody,
    ReportFinding,
    ReportInputs,
    SeriesInfo,
    Signature,
    wanted_segments,
)
from readingroom.report.write import content_of, preview_pdf, write_objects

HOSTILE = '#panic("x") \\ "quoted" $x^2$ [a] *b* _c_ `d` <e> @f //g /*h*/ = i\n- j #let x = 1 \\u{7}'
ABSTAINED = ReaderRun(reader="head-ct", version="2", state=ReaderState.ABSTAINED, reason="not a head CT")


def header(series: SmallSeries, **values: Any) -> StudyHeader:
    first = series.images[0]
    given = {
        "PatientName": "Plantagenet^Quilla",
        "PatientID": "PLANTED-1",
        "PatientBirthDate": "19500101",
        "PatientSex": "F",
        "AccessionNumber": "ACC1",
        "StudyInstanceUID": str(first.StudyInstanceUID),
        "StudyDate": "20260101",
        "StudyTime": "101500",
        "StudyDescription": "CT chest",
    }
    return StudyHeader(**{**given, **values})


def accepted(name: str, **values: Any) -> ReportFinding:
    finding = nodule(name, **values.pop("finding", {}))
    given = {"decision": "accepted", "reading_id": "r1", "run": RUN, "by": "ada", "at": AT, "image_number": 132}
    return ReportFinding(finding=finding, **{**given, **values})


def added(name: str) -> ReportFinding:
    return ReportFinding(finding=nodule(name, probability=None, tracking_uid=""), decision="added", by="ada", at=AT)


def signed(series: SmallSeries, *findings: ReportFinding, sections: dict[str, str] | None = None, **values: Any):
    head = values.pop("header", None) or header(series)
    name = values.pop("signer", "Dr. Ada Müller")
    technique = SeriesInfo(Modality="CT", SeriesDescription="Axial", images=8, slice_thickness_mm=3.0)
    inputs = ReportInputs(
        **{"revision": 2, "header": head, "findings": findings, "readers": (RUN, ABSTAINED), "series": (technique,)}
        | values
    )
    body = draft(inputs)
    flag = Flag(code="undecided", text="1 finding nobody has judged.", needs_acknowledgement=True)
    signature = Signature(
        account="ada", name=name, role="radiologist", at=AT, zone="Europe/Athens", acknowledged=(flag,)
    )
    return body.model_copy(update={"signature": signature, "sections": body.sections.model_copy(update=sections or {})})


def write(body: ReportBody, series: SmallSeries, segments: Any = None, addenda: Any = ()) -> dict[str, bytes]:
    return dict(write_objects(body, segments or {}, series.paths, series.digests, addenda))


def said(ds: Dataset) -> str:
    own = f"{ds.TextValue}\n" if "TextValue" in ds else ""
    own += f"{ds.ConceptCodeSequence[0].CodeMeaning}\n" if "ConceptCodeSequence" in ds else ""
    return own + "".join(said(item) for item in ds.get("ContentSequence", []))


def page_text(pdf: bytes, folder: Path) -> str:
    path = folder / "page.pdf"
    path.write_bytes(pdf)
    command = [find_tool("pdftotext"), "-layout", str(path), "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def series(tmp_path: Path) -> SmallSeries:
    return small_series(tmp_path / "ct")


@pytest.fixture
def mixed(series: SmallSeries) -> tuple[ReportBody, dict]:
    """Accepted with a segment, edited with a segment, added by a person without one; a partial study."""
    body = signed(
        series,
        accepted("f1", finding={"segment": "a"}),
        accepted("f22", finding={"segment": "b"}, decision="edited"),
        added("f333"),
        partial="4 slices are missing.",
        no_further_findings=True,
    )
    segments = {("r1", "a"): box_mask(series, 1, 2, 3, 3, 3, 3), ("r1", "b"): box_mask(series, 4, 2, 9, 9, 3, 3)}
    return body, segments


def test_everything_written_is_valid_and_tells_the_same(tmp_path: Path, series: SmallSeries, mixed: Any) -> None:
    body, segments = mixed
    assert wanted_segments(body) == tuple(segments)
    objects = write(body, series, segments)
    assert list(objects) == ["seg", "sr", "pdf", "fhir"]
    for role in ("seg", "sr", "pdf"):
        validate(objects[role], tmp_path)
    seg = hd.seg.segread(io.BytesIO(objects["seg"]))
    kinds = [item.SegmentAlgorithmType for item in seg.SegmentSequence]
    assert kinds == ["AUTOMATIC", "SEMIAUTOMATIC"]
    assert seg.ContentQualification == "RESEARCH"

    sr = hd.sr.srread(io.BytesIO(objects["sr"]))
    assert (sr.VerificationFlag, sr.PreliminaryFlag, sr.CompletionFlag) == ("VERIFIED", "FINAL", "COMPLETE")
    observer = sr.VerifyingObserverSequence[0]
    assert str(observer.VerifyingObserverName) == "Dr. Ada Müller^"
    assert observer.VerificationDateTime == "20260304070607.000000+0200"
    assert [
        len(sr.content.get_volumetric_roi_measurement_groups()),
        len(sr.content.get_planar_roi_measurement_groups()),
    ] == [2, 1]
    text = said(sr)
    for expected in (
        "Edited by ada",
        "Added by ada",
        "abstained: not a head CT",
        "Partial study: 4 slices",
        "No further",
    ):
        assert expected in text
    assert body.sections.impression in text

    pdf_object = dcmread(io.BytesIO(objects["pdf"]))
    page = page_text(pdf_object.EncapsulatedDocument, tmp_path)
    for expected in (
        "Attenuation Coefficient -12.5 HU",
        "research use only",
        "Plantagenet, Quilla",
        "PLANTED-1",
        "Partial study",
        "abstained",
        "Dr. Ada Müller",
        "EET",
    ):
        assert expected in page
    assert "DRAFT" not in page

    bundle = json.loads(objects["fhir"])
    Bundle.model_validate(bundle)
    report = bundle["entry"][0]["resource"]
    assert report["status"] == "final"
    pdf = base64.b64decode(report["presentedForm"][0]["data"])
    assert pdf_object.EncapsulatedDocument[: pdf_object.EncapsulatedDocumentLength] == pdf
    observations = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"]
    assert [o["identifier"][0]["value"] for o in observations][:2] == ["urn:oid:2.25.1002", "urn:oid:2.25.1003"]
    assert "device" not in observations[2]
    assert report["identifier"][0]["value"] == f"urn:oid:{sr.SOPInstanceUID}"
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    assert _references(bundle) <= urls


def _references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["reference"]} if "reference" in part else set()
        return own.union(*(_references(value) for value in part.values()))
    return set().union(*(_references(value) for value in part)) if isinstance(part, list) else set()


def test_same_body_same_bytes_whenever(series: SmallSeries, mixed: Any) -> None:
    body, segments = mixed
    first = write(body, series, segments)
    time.sleep(1.1)
    kept = ReportBody.model_validate(json.loads(json.dumps(body.model_dump(mode="json"))))
    assert write(kept, series, segments) == first


AI_SR = ObjectRef(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34", SOPInstanceUID="2.25.71", SeriesInstanceUID="2.25.72")


def verdict(finding_id: str, decision: str, **values: Any) -> FindingVerdict:
    given = {"tracking_id": f"track {finding_id}", "reading_id": "r1", "by": "ada", "at": AT} | values
    return FindingVerdict(finding_id=finding_id, decision=decision, **given)


def named_items(ds: Dataset, meaning: str) -> list[Dataset]:
    """All content items with this concept name, in document order."""
    own_name = ds.get("ConceptNameCodeSequence", [])
    found = [ds] if own_name and own_name[0].CodeMeaning == meaning else []
    return found + [item for child in ds.get("ContentSequence", []) for item in named_items(child, meaning)]


def test_a_signed_sr_takes_up_the_reading_and_says_what_became_of_each_finding(
    tmp_path: Path, series: SmallSeries
) -> None:
    body = signed(
        series,
        accepted("f1"),
        accepted("f22", decision="edited"),
        verdicts=(
            verdict("f1", "accepted", tracking_uid="2.25.1002"),
            verdict("f22", "edited", tracking_uid="2.25.1003"),
            verdict("f333", "rejected", tracking_uid="2.25.1004", reason=own("vessel", "Vessel"), text="branches"),
            verdict("f4444", "undecided", tracking_uid="2.25.1005", by="", at=None),
        ),
    ).model_copy(update={"judged": {"r1": AI_SR}})
    data = write(body, series)["sr"]
    validate(data, tmp_path)
    sr = hd.sr.srread(io.BytesIO(data))
    # What was rejected is no measurement group: nobody who counts findings counts it.
    groups = sr.content.get_planar_roi_measurement_groups()
    assert [group.tracking_uid for group in groups] == ["2.25.1002", "2.25.1003"]

    predecessors = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert [(one.SeriesInstanceUID, one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for one in predecessors] == [
        (AI_SR.SeriesInstanceUID, AI_SR.SOPInstanceUID)
    ]
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert AI_SR.SOPInstanceUID in {i.ReferencedSOPInstanceUID for one in evidence for i in one.ReferencedSOPSequence}

    told = []
    for item in named_items(sr, "Verdict on a finding of AI"):
        (uid,) = named_items(item, "Tracking Unique Identifier")
        (document,) = named_items(item, "Document that holds the finding")
        assert document.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == AI_SR.SOPInstanceUID
        (decision,) = named_items(item, "Decision")
        who = [str(one.PersonName) for one in named_items(item, "Person Observer Name")]
        why = [one.ConceptCodeSequence[0].CodeValue for one in named_items(decision, "Reason")]
        why += [one.TextValue for one in named_items(decision, "Comment")]
        told.append((uid.UID, decision.ConceptCodeSequence[0].CodeValue, who, item.get("ObservationDateTime"), why))
    at = "20260304070607.000000+0200"
    assert told == [
        ("2.25.1002", "accepted", ["ada^"], at, []),
        ("2.25.1003", "modified", ["ada^"], at, []),
        ("2.25.1004", "rejected", ["ada^"], at, ["vessel", "branches"]),
        ("2.25.1005", "undecided", [], None, []),
    ]
    (scheme,) = sr.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99READINGROOM"


def test_a_reading_that_was_never_written_is_not_named(tmp_path: Path, series: SmallSeries) -> None:
    body = signed(series, verdicts=(verdict("f1", "rejected", reason=own("other", "Other")),))
    data = write(body, series)["sr"]
    validate(data, tmp_path)
    sr = hd.sr.srread(io.BytesIO(data))
    assert "PredecessorDocumentsSequence" not in sr
    assert named_items(sr, "Document that holds the finding") == []


def test_an_addendum_makes_a_second_set_beside_the_first(tmp_path: Path, series: SmallSeries, mixed: Any) -> None:
    body, segments = mixed
    body = body.model_copy(update={"judged": {"r1": AI_SR}})
    addenda = [
        AddendumText(number=1, text="The nodule\nwas there in 2019.", author="Dr. Bo Ek", at=AT + timedelta(days=1)),
        AddendumText(number=2, text="Seen by the board.", author="Dr. Ada Müller", at=AT + timedelta(days=2)),
    ]
    first, once, twice = (write(body, series, segments, addenda[:n]) for n in range(3))
    assert list(once) == list(twice) == ["sr", "pdf", "fhir"]
    assert write(body, series, segments) == first
    assert write(body, series, segments, addenda) == twice
    for objects in (once, twice):
        for role in ("sr", "pdf"):
            validate(objects[role], tmp_path)
    srs = [hd.sr.srread(io.BytesIO(objects["sr"])) for objects in (first, once, twice)]
    pdfs = [dcmread(io.BytesIO(objects["pdf"])) for objects in (first, once, twice)]
    for kind in (srs, pdfs):
        assert len({ds.SOPInstanceUID for ds in kind}) == 3
        assert len({(ds.SeriesInstanceUID, ds.SeriesDate, ds.SeriesTime) for ds in kind}) == 1
        assert [(int(ds.InstanceNumber), ds.ContentDate) for ds in kind] == [
            (1, "20260304"), (2, "20260305"), (3, "20260306"),
        ]  # fmt: skip

    def predecessors(sr: Dataset) -> list[str]:
        series_of = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
        return [i.ReferencedSOPInstanceUID for one in series_of for i in one.ReferencedSOPSequence]

    assert [predecessors(sr) for sr in srs] == [
        [AI_SR.SOPInstanceUID],
        [srs[0].SOPInstanceUID, AI_SR.SOPInstanceUID],
        [srs[1].SOPInstanceUID, AI_SR.SOPInstanceUID],
    ]
    observers = [
        (str(one.VerifyingObserverName), one.VerificationDateTime[:8]) for one in srs[2].VerifyingObserverSequence
    ]
    assert observers == [
        ("Dr. Ada Müller^", "20260304"), ("Dr. Bo Ek^", "20260305"), ("Dr. Ada Müller^", "20260306"),
    ]  # fmt: skip
    assert [item.TextValue for item in named_items(srs[2], "Addendum")] == [one.text for one in addenda]
    # The findings and their segments are those of the first set.
    referred = [
        g.referenced_segment.referenced_sop_instance_uid for g in srs[2].content.get_volumetric_roi_measurement_groups()
    ]
    assert set(referred) == {dcmread(io.BytesIO(first["seg"])).SOPInstanceUID}
    assert {g.tracking_uid for g in srs[0].content.get_planar_roi_measurement_groups()} == {
        g.tracking_uid for g in srs[2].content.get_planar_roi_measurement_groups()
    }
    page = page_text(pdfs[2].EncapsulatedDocument, tmp_path)
    for expected in (
        "2 addenda",
        "Addendum 1",
        "was there in 2019.",
        "Dr. Bo Ek",
        "2026-03-05 07:06:07 EET",
        "Addendum 2",
    ):
        assert expected in page
    assert "ddend" not in page_text(pdfs[0].EncapsulatedDocument, tmp_path)

    bundles = [json.loads(objects["fhir"]) for objects in (first, once, twice)]
    reports = [Bundle.model_validate(bundle) and bundle["entry"][0]["resource"] for bundle in bundles]
    assert [report["status"] for report in reports] == ["final", "appended", "appended"]
    assert len({bundle["id"] for bundle in bundles}) == 3
    assert len({entry["fullUrl"] for bundle in bundles for entry in bundle["entry"]}) == len(bundles[0]["entry"])
    assert [i["value"] for i in reports[2]["identifier"]] == [f"urn:oid:{srs[n].SOPInstanceUID}" for n in (0, 2)]
    assert "Addendum 2 (Dr. Ada Müller" in reports[2]["conclusion"]
    assert [one["display"] for one in reports[2]["performer"]] == ["Dr. Ada Müller", "Dr. Bo Ek"]


def test_no_findings_is_said_and_not_silent(tmp_path: Path, series: SmallSeries) -> None:
    objects = write(signed(series, no_further_findings=True), series)
    assert list(objects) == ["sr", "pdf", "fhir"]
    for role in ("sr", "pdf"):
        validate(objects[role], tmp_path)
    text = said(hd.sr.srread(io.BytesIO(objects["sr"])))
    assert "Absent" in text
    assert "No findings accepted." in text
    assert "abstained" in text
    report = json.loads(objects["fhir"])["entry"][0]["resource"]
    assert "result" not in report
    assert "No findings accepted" in report["conclusion"]


@pytest.mark.parametrize("values", [{}, {"no_further_findings": True, "partial": "4 slices are missing."}])
def test_silence_and_partial_studies_are_never_coded_as_a_negative(series: SmallSeries, values: dict[str, Any]) -> None:
    text = said(hd.sr.srread(io.BytesIO(write(signed(series, **values), series)["sr"])))
    assert "Absent" not in text
    assert "No findings accepted." in text


def test_a_finding_whose_segment_is_not_there_is_written_as_a_point(tmp_path: Path, series: SmallSeries) -> None:
    objects = write(signed(series, accepted("f1", finding={"segment": "gone"})), series)
    assert list(objects) == ["sr", "pdf", "fhir"]
    validate(objects["sr"], tmp_path)
    assert len(hd.sr.srread(io.BytesIO(objects["sr"])).content.get_planar_roi_measurement_groups()) == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller^Jörg^^Dr.", "Müller, Jörg, Dr."),
        ("Διονυσίου^Ἄννα", "Διονυσίου"),
        ("Иванов^Пётр", "Иванов, Пётр"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田, 太郎)"),
    ],
)
def test_names_reach_every_object(tmp_path: Path, series: SmallSeries, name: str, shown: str) -> None:
    objects = write(
        signed(series, accepted("f1"), header=header(series, PatientName=name), signer="Žofie Ångström"), series
    )
    for role in ("sr", "pdf"):
        validate(objects[role], tmp_path)
        assert str(dcmread(io.BytesIO(objects[role])).PatientName) == name
    assert shown in page_text(dcmread(io.BytesIO(objects["pdf"])).EncapsulatedDocument, tmp_path)
    patient = next(
        e["resource"] for e in json.loads(objects["fhir"])["entry"] if e["resource"]["resourceType"] == "Patient"
    )
    assert [n["family"] for n in patient["name"]] == [group.split("^")[0] for group in name.split("=")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        # PS3.5 annexes H (Japanese), I (Korean), J and K (Chinese).
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田, 太郎) (やまだ, たろう)"),
        ("ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "ﾔﾏﾀﾞ, ﾀﾛｳ (山田, 太郎) (やまだ, たろう)"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "Hong, Gildong (洪, 吉洞) (홍, 길동)"),
        ("Wang^XiaoDong=王^小東", "Wang, XiaoDong (王, 小東)"),
        ("Zhang^XiaoDong=张^小东", "Zhang, XiaoDong (张, 小东)"),
        ("=山田^太郎", "山田, 太郎"),
    ],
)
def test_east_asian_names_are_drawn_wherever_the_page_is_made(
    tmp_path: Path, series: SmallSeries, monkeypatch: pytest.MonkeyPatch, name: str, shown: str
) -> None:
    compile_page = pdf_encoder._compile

    def with_our_fonts_only(data: str, content: Any, system_fonts: bool) -> Any:
        assert not system_fonts, "the machine's fonts may not be needed"
        return compile_page(data, content, system_fonts)

    monkeypatch.setattr(pdf_encoder, "_compile", with_our_fonts_only)
    body = signed(series, header=header(series, PatientName=name), signer="山田 太郎")
    page = page_text(render_pdf(content_of(body, {}, (), {})), tmp_path)
    assert shown in unicodedata.normalize("NFC", page)
    assert "Electronically signed by 山田 太郎" in page
    assert "□" not in page


def test_what_no_font_draws_is_said_beside_what_can_be_drawn(tmp_path: Path, series: SmallSeries) -> None:
    # A character of Unicode's private use area: no font has it.
    body = signed(series, header=header(series, PatientName="Yamada^Tarou=山\uf8f0^太郎"))
    page = page_text(render_pdf(content_of(body, {}, (), {})), tmp_path)
    assert "Yamada, Tarou (山□, 太郎)" in page
    assert "Characters this page's fonts lack are printed as □" in page


def test_text_is_text_and_never_markup(tmp_path: Path, series: SmallSeries) -> None:
    body = signed(
        series,
        accepted("f1", finding={"comment": HOSTILE, "tracking_id": "a\\b"}),
        sections={"findings": HOSTILE, "impression": "e\x00\x07\x1b[31m\u202e"},
        header=header(series, PatientName='#panic("name")', PatientID='"\\#', StudyDescription='#import "x"'),
        signer='#read("/etc/passwd")',
    )
    objects = write(body, series)
    for role in ("sr", "pdf"):
        validate(objects[role], tmp_path)
    page = page_text(dcmread(io.BytesIO(objects["pdf"])).EncapsulatedDocument, tmp_path)
    for expected in ('#panic("x") \\ "quoted" $x^2$ [a] *b* _c_ `d` <e> @f //g /*h*/ = i', '#read("/etc/passwd")'):
        assert expected in page
    assert "- j #let x = 1 \\u{7}" in page
    assert HOSTILE.split("\n")[0] in said(hd.sr.srread(io.BytesIO(objects["sr"])))


def test_long_reports_take_many_pages(tmp_path: Path, series: SmallSeries) -> None:
    many = [accepted(f"f{number}", finding={"tracking_uid": f"2.25.{number + 7}"}) for number in range(60)]
    body = signed(series, *many, sections={"findings": "A line of words. " * 2000})
    objects = write(body, series)
    validate(objects["sr"], tmp_path)
    assert "of 9" in page_text(dcmread(io.BytesIO(objects["pdf"])).EncapsulatedDocument, tmp_path)


def test_unsigned_reports_write_nothing_and_preview_says_draft(tmp_path: Path, series: SmallSeries) -> None:
    body = signed(series, accepted("f1")).model_copy(update={"signature": None})
    with pytest.raises(Conflict):
        write(body, series)
    page = page_text(preview_pdf(body, AT), tmp_path)
    assert "DRAFT" in page
    assert "Not signed" in page


def test_the_page_needs_no_font_of_the_machine(series: SmallSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of(signed(series, accepted("f1")), {}, (), {})
    page = render_pdf(content)
    # Fontconfig and typst find no system font in an empty home.
    monkeypatch.setenv("XDG_DATA_HOME", "/nonexistent")
    assert render_pdf(content) == page
    assert page.startswith(b"%PDF-1.7")
