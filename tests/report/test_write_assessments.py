"""Categories by published tables in every object of a signed report: the one that people stand behind, and the AI's."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from content_support import AT, RUN, SmallSeries, nodule, reading, small_series, validate
from fhir.resources.R4B.bundle import Bundle
from pydicom import dcmread
from pydicom.dataset import Dataset
from support import find_tool

from readingroom.findings.codes import code
from readingroom.findings.model import Assessment, Earlier, Finding, Measurement, ReaderState
from readingroom.findings.rules import NoduleContext, assess, characteristic, dominant, table
from readingroom.objects.content import ReaderAssessment, StudyAssessment, StudyHeader
from readingroom.objects.reading_objects import encode_reading
from readingroom.report.draft import draft
from readingroom.report.model import ReportBody, ReportFinding, ReportInputs, Signature
from readingroom.report.write import write_objects


def measured(millimetres: float) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(code=code(name), value=millimetres, unit=code("mm")) for name in ("long-axis", "short-axis")
    )


def found(name: str, millimetres: float, **values: Any) -> Finding:
    solid = (characteristic("density-type", "solid", 0.9123),)
    return nodule(name, axes=(), measurements=measured(millimetres), **({"characteristics": solid} | values))


@pytest.fixture
def series(tmp_path: Path) -> SmallSeries:
    return small_series(tmp_path / "ct")


@pytest.fixture
def body(series: SmallSeries) -> ReportBody:
    """Two accepted nodules, the larger one grown; the AI had said another category. Fleischner does not apply."""
    then = Earlier(days_before=90, found=True, matched_by="position", measurements=measured(7.0))
    done = assess([found("f22", 5.0), found("f1", 9.5, earlier=(then,))], NoduleContext(age_years=30.0))
    said = Assessment(
        table="Lung-RADS", edition="2022", category=table("lung-rads").categories["3"].coded(), rule="some-row"
    )
    assessments = tuple(
        StudyAssessment(
            table=one.table, edition=one.edition, stated=one, unjudged=1,
            dominant=leading.id if (leading := dominant(done.findings, one)) else "",
            readers=(ReaderAssessment(reader="lung-nodule", version="1.0", title="Lung nodules", assessment=said),)
            if one.table == said.table
            else (),
        )
        for one in done.study
    )  # fmt: skip
    first = series.images[0]
    head = StudyHeader(
        PatientName="Plantagenet^Quilla", PatientID="PLANTED-1", StudyDate="20260101",
        StudyInstanceUID=str(first.StudyInstanceUID),
    )  # fmt: skip
    made = draft(
        ReportInputs(
            revision=1, header=head, readers=(RUN,), assessments=assessments,
            findings=tuple(
                ReportFinding(finding=one, decision="accepted", run=RUN, by="ada", at=AT) for one in done.findings
            ),
        )
    )  # fmt: skip
    return made.model_copy(update={"signature": Signature(account="ada", name="Dr. Ada", at=AT)})


def items(ds: Dataset, meaning: str) -> list[Dataset]:
    own = ds.get("ConceptNameCodeSequence", [])
    here = [ds] if own and own[0].CodeMeaning == meaning else []
    return here + [item for child in ds.get("ContentSequence", []) for item in items(child, meaning)]


def test_the_draft_says_which_rule_fired_and_what_the_ai_said(body: ReportBody) -> None:
    text = body.sections.findings
    assert "Lung-RADS 4B: very suspicious (Lung-RADS 2022, rule " in text
    assert "In 90 days: mean diameter +2.5 mm" in text
    assert "doubling time" in text
    assert "Dominant: nodule in the right lung, 10 x 10 mm" in text
    assert "Recommended there: Refer for clinical evaluation" in text
    assert "Lung nodules 1.0 said otherwise: Lung-RADS 3: probably benign, rule some-row." in text
    assert "Fleischner 2017 gives no category: Fleischner 2017 is for patients of 35 years and more." in text
    assert "Fleischner" not in body.sections.impression
    compared = "Findings of the study of 2025-10-03 (90 days before), compared by the AI reader."
    assert body.sections.comparison == compared
    assert "change of mean diameter +2.5 mm" in text


def test_every_object_tells_the_same(tmp_path: Path, series: SmallSeries, body: ReportBody) -> None:
    objects = dict(write_objects(body, {}, series.paths, series.digests))
    validate(objects["sr"], tmp_path)
    sr = hd.sr.srread(io.BytesIO(objects["sr"]))
    dominant_is = "Finding whose category the study has"
    (one,) = (each for each in items(sr, "Lung-RADS 2022 category") if items(each, dominant_is))
    assert one.ConceptCodeSequence[0].CodeValue == "LungRADS-4B"
    assert body.findings[1].finding.tracking_uid == items(one, dominant_is)[0].UID
    assert items(one, "Rule that fired")[0].TextValue.startswith("Lung-RADS 2022: ")
    assert items(one, "Recommendation")[0].TextValue.startswith("Refer for clinical")
    (other,) = items(one, "Said by AI")
    assert other.ConceptCodeSequence[0].CodeValue == "LungRADS-3"
    assert len(items(sr, "Lung-RADS 2022 category")) == 3, "of the study, and of each finding"
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in items(sr, "Density type")] == ["Solid", "Solid"]
    assert items(sr, "Volume doubling time")
    assert not items(sr, "Fleischner 2017 row")
    assert sr.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99READINGROOM"

    bundle = json.loads(objects["fhir"])
    Bundle.model_validate(bundle)
    observations = {
        one["resource"]["code"]["text"]: one["resource"]
        for one in bundle["entry"]
        if one["resource"]["resourceType"] == "Observation"
    }
    lung_rads = observations["Lung-RADS 2022 category"]
    assert lung_rads["status"] == "final"
    assert lung_rads["valueCodeableConcept"]["coding"][0]["code"] == "LungRADS-4B"
    assert "Recommended there" in str(lung_rads["note"])
    urls = {one["fullUrl"]: one["resource"] for one in bundle["entry"]}
    _, leading = (urls[one["reference"]] for one in lung_rads["derivedFrom"])
    assert leading["identifier"][0]["value"] == f"urn:oid:{body.findings[1].finding.tracking_uid}"
    fleischner = observations["Fleischner 2017 row"]
    assert fleischner["dataAbsentReason"]["coding"][0]["code"] == "not-applicable"
    assert "valueCodeableConcept" not in fleischner
    results = {one["reference"] for one in bundle["entry"][0]["resource"]["result"]}
    assert f"urn:uuid:{lung_rads['id']}" in results

    page = tmp_path / "page.pdf"
    page.write_bytes(dcmread(io.BytesIO(objects["pdf"])).EncapsulatedDocument)
    command = [find_tool("pdftotext"), "-layout", str(page), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for expected in ("Assessments by published rules", "Dominant: finding 2.", "said otherwise: Lung-RADS 3"):
        assert expected in text


def test_a_table_that_is_not_ours_does_no_harm(tmp_path: Path, series: SmallSeries, body: ReportBody) -> None:
    foreign = Assessment(table="BI-RADS", edition="5", category=code("malignant"), rule="x", because=("because",))
    with_it = body.model_copy(
        update={
            "assessments": (StudyAssessment(table="BI-RADS", edition="5", stated=foreign),),
            "findings": (body.findings[0].model_copy(update={"finding": found("f1", 9.0, assessments=(foreign,))}),),
        }
    )
    objects = dict(write_objects(with_it, {}, series.paths, series.digests))
    validate(objects["sr"], tmp_path)
    Bundle.model_validate(json.loads(objects["fhir"]))


def test_a_reading_says_its_own_before_anybody_looked(tmp_path: Path, series: SmallSeries) -> None:
    done = assess([found("f1", 9.5)], NoduleContext(age_years=60.0))
    said = reading(ReaderState.FOUND, done.findings, assessments=done.study)
    ((_, data),) = encode_reading(said, {}, series.paths, series.digests, AT)
    validate(data, tmp_path)
    sr = hd.sr.srread(io.BytesIO(data))
    assert sr.VerificationFlag == "UNVERIFIED"
    assert {one.ConceptCodeSequence[0].CodeValue for one in items(sr, "Lung-RADS 2022 category")} == {"LungRADS-4A"}
    other = said.model_copy(update={"assessments": done.study[:1]})
    ((_, changed),) = encode_reading(other, {}, series.paths, series.digests, AT)
    assert dcmread(io.BytesIO(changed)).SOPInstanceUID != sr.SOPInstanceUID
