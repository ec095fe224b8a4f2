"""Whatever a reader does becomes a state with a reason; ids are the same on every run."""

from dataclasses import replace

import numpy as np
import pytest

from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, PatientPlace, ReaderState, SegmentMask
from readingroom.imaging.volume import Volume
from readingroom.readers.contract import (
    Applicability,
    Card,
    ClinicalContext,
    Progress,
    ReadingOutput,
    ReadingRequest,
    SeriesType,
    TypedSeries,
)
from readingroom.readers.runner import run_reader


def finding(x: float, probability: float, **more: object) -> Finding:
    place = PatientPlace(frame_of_reference_uid="1.2.3", position_lps_mm=(x, 0.0, 0.0))
    return Finding(id="any", code=code("nodule"), place=place, probability=probability, **more)  # type: ignore[arg-type]


class Fake:
    card = Card(
        name="fake", version="2", title="t", question="q", takes="x", finds=(), context=("sex",), evidence_level=1,
        evidence="none", operating_point=0.3, limits=(), weights_licence="none", data=(),
    )  # fmt: skip
    weights_sha256 = "w"
    configuration_sha256 = "c"

    def __init__(self, output: ReadingOutput | Exception, applies: bool = True) -> None:
        self.output = output
        self.says = applies
        self.seen: ReadingRequest | None = None

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        return Applicability(applies=self.says, reason="because", series_instance_uids=("1.2.5",))

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        self.seen = request
        progress("half", 0.5)
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


def request(partial: bool = False) -> ReadingRequest:
    volume = Volume(np.zeros((3, 4, 5), np.int16), np.eye(4), "1.2.3", "1.2.5", "1.2.4", "CT", "HU", ("1.1",), (1,))
    kind = SeriesType(modality="CT", kind="ct-volume")
    headers = {"Manufacturer": "Maker", "ConvolutionKernel": "B70f", "PatientPosition": "HFS"}
    series = (TypedSeries("1.2.5", kind, volume, headers=headers), TypedSeries("1.2.6", kind, None))
    return ReadingRequest("1.2.4", series, ClinicalContext(age_years=70, sex="F", indication="cough"), partial)


def ignore(step: str, fraction: float) -> None: ...


@pytest.mark.parametrize(
    ("output", "partial", "state", "reason"),
    [
        (ReadingOutput(), False, ReaderState.NOTHING_FOUND, "because"),
        (ReadingOutput(findings=(finding(0, 0.5),)), False, ReaderState.FOUND, "because"),
        (ReadingOutput(findings=(finding(0, 0.5),)), True, ReaderState.PARTIAL, "incomplete"),
        (ReadingOutput(), True, ReaderState.PARTIAL, "says nothing"),
        (ReadingOutput(abstained="no lungs"), False, ReaderState.ABSTAINED, "no lungs"),
        (ReadingOutput(abstained="no lungs"), True, ReaderState.ABSTAINED, "no lungs"),
        (MemoryError(), False, ReaderState.FAILED, "MemoryError"),
    ],
)
def test_states(output: ReadingOutput | Exception, partial: bool, state: ReaderState, reason: str) -> None:
    reading, _ = run_reader(Fake(output), request(partial), ignore)
    assert reading.state is state
    assert reason in reading.reason
    assert (reading.reader, reading.version, reading.operating_point) == ("fake", "2", 0.3)


def test_not_applicable_is_not_read() -> None:
    reader = Fake(ReadingOutput(), applies=False)
    reading, _ = run_reader(reader, request(), ignore)
    assert reading.state is ReaderState.NOT_APPLICABLE
    assert reading.reason == "because"
    assert reader.seen is None


def test_no_foreign_text_reaches_the_reason() -> None:
    reading, _ = run_reader(Fake(RuntimeError("Doe^Jane 1234")), request(), ignore)
    assert "Doe" not in reading.model_dump_json()


def test_only_declared_context_and_chosen_series_are_shown() -> None:
    reader = Fake(ReadingOutput())
    reading, _ = run_reader(reader, request(), ignore)
    assert reader.seen is not None
    assert [s.series_instance_uid for s in reader.seen.series] == ["1.2.5"]
    assert reader.seen.context == ClinicalContext(sex="F")
    assert reading.series_instance_uids == ("1.2.5",)
    assert reading.input_statistics["ConvolutionKernel"] == "B70f"
    assert reading.input_statistics["slices"] == 3


def test_ids_are_stable_sorted_and_depend_on_version() -> None:
    output = ReadingOutput(findings=(finding(1, 0.4), finding(2, 0.9)))
    first, arrays = run_reader(Fake(output), request(), ignore)
    second, _ = run_reader(Fake(output), request(), ignore)
    assert first.findings == second.findings == arrays.findings
    assert [f.probability for f in first.findings] == [0.9, 0.4]
    assert len({f.tracking_uid for f in first.findings}) == 2
    newer = Fake(output)
    newer.card = newer.card.model_copy(update={"version": "3"})
    third, _ = run_reader(newer, request(), ignore)
    assert {f.id for f in third.findings}.isdisjoint(f.id for f in first.findings)


@pytest.mark.parametrize(
    "bad",
    [
        ReadingOutput(findings=(finding(0, 0.5),), abstained="but why"),
        ReadingOutput(findings=(finding(0, 0.5, segment="ghost"),)),
        ReadingOutput(findings=(finding(0, 0.5, evidence=Evidence(heat_map="ghost")),)),
        ReadingOutput(findings=(finding(0, 0.5), finding(0, 0.6))),
        ReadingOutput(out_of_domain_score=float("nan")),
        ReadingOutput(findings=(finding(0, 0.5),), seconds={"step": float("inf")}),
        ReadingOutput(
            findings=(
                finding(0, 0.5).model_copy(
                    update={"place": PatientPlace(frame_of_reference_uid="9.9", position_lps_mm=(0, 0, 0))}
                ),
            )
        ),
    ],
)
def test_outputs_that_contradict_themselves_fail(bad: ReadingOutput) -> None:
    reading, output = run_reader(Fake(bad), request(), ignore)
    assert reading.state is ReaderState.FAILED
    assert not reading.findings
    assert not output.findings


BOX = SegmentMask("1.2.5", (0, 1, 2), np.ones((1, 2, 3), bool), ("1.1",))
MAPPED = finding(0, 0.5, segment="s", evidence=Evidence(heat_map="h"))
EVEN = np.full((1, 2, 3), 0.5, np.float32)


@pytest.mark.parametrize("heat", [EVEN, EVEN * 0, EVEN * 2])
def test_a_heat_map_on_the_box_of_its_segment_is_taken(heat: np.ndarray) -> None:
    reading, output = run_reader(Fake(ReadingOutput((MAPPED,), {"s": BOX}, {"h": heat})), request(), ignore)
    assert reading.state is ReaderState.FOUND, reading.reason
    assert output.heat_maps["h"] is heat


@pytest.mark.parametrize(
    ("heat", "why"),
    [
        (EVEN.astype(float), "float32"),
        (EVEN[0], r"box (1, 2, 3), and this one has (2, 3)"),
        (np.zeros((1, 3, 2), np.float32), "(1, 3, 2)"),
        (EVEN * 2.001, "0 and 1"),
        (EVEN * -0.001, "0 and 1"),
        (EVEN * np.nan, "not finite"),
        (EVEN * np.inf, "not finite"),
    ],
)
def test_any_other_heat_map_fails_the_reader_with_a_sentence(heat: np.ndarray, why: str) -> None:
    reading, output = run_reader(Fake(ReadingOutput((MAPPED,), {"s": BOX}, {"h": heat})), request(), ignore)
    assert reading.state is ReaderState.FAILED
    assert why in reading.reason
    assert not output.heat_maps


def test_a_heat_map_without_a_segment_has_no_place() -> None:
    alone = finding(0, 0.5, evidence=Evidence(heat_map="h"))
    reading, _ = run_reader(Fake(ReadingOutput((alone,), {}, {"h": EVEN})), request(), ignore)
    assert "lies on a segment's box" in reading.reason


def test_missing_product_fails_with_its_name() -> None:
    reader = Fake(ReadingOutput())
    reader.card = reader.card.model_copy(update={"requires": ("lung-mask",)})
    reading, _ = run_reader(reader, request(), ignore)
    assert reading.state is ReaderState.FAILED
    assert "lung-mask" in reading.reason
    with_product = replace(request(), products={"lung-mask": np.ones(3)})
    assert run_reader(reader, with_product, ignore)[0].state is ReaderState.NOTHING_FOUND
