"""What a draft says, and what it may never say."""

import pytest
from content_support import RUN, nodule

from readingroom.findings.codes import code
from readingroom.findings.model import Characteristic, Measurement, ReaderState, Side
from readingroom.objects.content import ReaderRun, StudyHeader
from readingroom.report.draft import draft, sentence
from readingroom.report.model import ReportFinding, ReportInputs, SeriesInfo


def accepted(**values: object) -> ReportFinding:
    return ReportFinding(finding=nodule("f1", **values), decision="accepted", run=RUN, image_number=132)


def inputs(*findings: ReportFinding, **values: object) -> ReportInputs:
    return ReportInputs(**{"revision": 1, "header": StudyHeader(), "findings": findings, "readers": (RUN,)} | values)


def test_a_finding_is_one_sentence_with_its_numbers() -> None:
    assert sentence(accepted()) == (
        "Nodule in the right lung, 21 x 16 mm (mean 18 mm), volume 2245 mm3, attenuation coefficient -12.5 HU, "
        "image 132 (found by Lung nodules 1.0, certainty 87 %)."
    )


def test_a_sentence_says_only_what_is_known() -> None:
    bare = ReportFinding(
        finding=nodule("f1", measurements=(), axes=(), side=None, site=None, probability=None), decision="added"
    )
    assert sentence(bare) == "Nodule (found by the reading physician)."


def test_acronyms_and_units_stay_as_they_are() -> None:
    volume = Measurement(code=code("volume"), value=34.2, unit=code("mL"))
    product = Measurement(code=code("diameter-product"), value=1350.0, unit=code("mm2"))
    found = accepted(code=code("flair-abnormality"), site=code("brain"), measurements=(volume, product))
    assert sentence(found).startswith("FLAIR abnormality suspicious for glioma in the right brain, ")
    assert ", volume 34.2 mL, product of perpendicular diameters 1350 mm2, " in sentence(found)
    impression = draft(inputs(found)).sections.impression
    assert impression == "1 accepted finding: FLAIR abnormality suspicious for glioma in the right brain."


def test_the_type_of_a_bleed_is_said_with_its_probability() -> None:
    types = (("subdural", 0.714), ("epidural", None))
    bleed = accepted(
        code=code("intracranial-hemorrhage"), measurements=(), axes=(), site=None,
        side=Side(value="left", witnesses=(), agree=True),
        characteristics=tuple(
            Characteristic(concept=code("hemorrhage-type"), value=code(name), probability=chance)
            for name, chance in types
        ),
    )  # fmt: skip
    assert sentence(bleed) == (
        "Intracranial hemorrhage (type: subdural 71 %, epidural), left, image 132 (found by Lung nodules 1.0, "
        "certainty 87 %)."
    )


def test_a_disputed_side_shows() -> None:
    disputed = accepted(side=Side(value="right", witnesses=(), agree=False))
    assert "[side disputed: check]" in sentence(disputed)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ReaderState.ABSTAINED, "abstained: why not"),
        (ReaderState.FAILED, "failed: why not"),
        (ReaderState.READING, "still reading"),
        (ReaderState.QUEUED, "not read yet"),
        (ReaderState.NOT_APPLICABLE, "not applicable"),
        (ReaderState.PARTIAL, "incomplete study"),
    ],
)
def test_a_silent_list_never_looks_negative(state: ReaderState, words: str) -> None:
    run = ReaderRun(reader="r", version="1", state=state, reason="why not")
    text = draft(inputs(readers=(run,))).sections.findings
    assert text.startswith("No findings accepted.")
    assert words in text
    assert "nothing found" not in text


def test_no_reader_at_all_is_said() -> None:
    assert "nothing here rests on AI" in draft(inputs(readers=())).sections.findings


def test_partial_stands_first_in_findings_and_impression() -> None:
    body = draft(inputs(partial="4 slices are missing."))
    for text in (body.sections.findings, body.sections.impression):
        assert text.startswith("Partial study: 4 slices are missing. What is not described is not thereby absent.")


def test_impression_counts() -> None:
    assert draft(inputs(accepted())).sections.impression == "1 accepted finding: nodule in the right lung."
    two = draft(inputs(accepted(), accepted())).sections.impression
    assert two == "2 accepted findings: 2 x nodule in the right lung."


def test_technique_comes_from_the_series() -> None:
    series = SeriesInfo(
        Modality="CT",
        SeriesDescription="Lung",
        images=300,
        slice_thickness_mm=1.25,
        kernel="B60f",
        contrast=False,
        plane="axial",
    )
    text = draft(inputs(series=(series,))).sections.technique
    assert text == "CT (Lung), 300 images, axial, 1.2 mm slices, kernel B60f, no contrast agent recorded."


def test_braces_in_texts_are_only_braces() -> None:
    assert ", {finding} {0}" in sentence(accepted(comment="{finding} {0}"))
