"""Shadow against live: which findings are the same, and the sums."""

import numpy as np
import pytest

from readingroom.evaluation.agreement import cohen_kappa
from readingroom.findings.codes import code
from readingroom.findings.model import Finding, ImagePlace, PatientPlace, Place, ReaderState, Reading, StudyPlace
from readingroom.learning.models.compare import Pair, compare, summarise


def at(x: float, score: float | None = 0.5, frame: str = "1.2.9") -> Finding:
    place = PatientPlace(frame_of_reference_uid=frame, position_lps_mm=(x, 0.0, 0.0))
    return Finding(id=f"{x}", code=code("nodule"), place=place, probability=score)


def on_image(uid: str, column: float, row: float) -> ImagePlace:
    return ImagePlace(sop_instance_uid=uid, column=column, row=row)


def reading(*findings: Finding, version: str = "1", seconds: float = 1.0) -> Reading:
    state = ReaderState.FOUND if findings else ReaderState.NOTHING_FOUND
    return Reading(reader="r", version=version, state=state, findings=findings, seconds={"total": seconds})


def test_findings_are_the_same_by_place_one_to_one() -> None:
    live = reading(at(0, 0.9), at(12, 0.8), at(100, 0.7), version="1.0", seconds=9.0)
    shadow = reading(at(6, 0.6), at(1, 0.4), at(111, 0.3), version="2.0", seconds=3.0)
    pair = compare(live, shadow)
    # 6 is as near to 0 as to 12: only so are two the same. 111 is more than 10 mm away from 100.
    assert sorted(pair.scores) == [(0.8, 0.6), (0.9, 0.4)]
    assert (pair.live_version, pair.live_findings, pair.shadow_findings) == ("1.0", 3, 3)
    assert (pair.live_seconds, pair.shadow_seconds) == (9.0, 3.0)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (StudyPlace(), StudyPlace(), True),
        (StudyPlace(), PatientPlace(frame_of_reference_uid="1.2.9", position_lps_mm=(0, 0, 0)), False),
        (on_image("1.1", 0, 0), on_image("1.1", 12, 16), True),
        (on_image("1.1", 0, 0), on_image("1.1", 13, 16), False),
        (on_image("1.1", 0, 0), on_image("1.2", 0, 0), False),
    ],
)  # fmt: skip
def test_places_of_other_kinds(first: Place, second: Place, same: bool) -> None:
    a, b = (Finding(id="f", code=code("nodule"), place=place) for place in (first, second))
    assert len(compare(reading(a), reading(b)).scores) == same


def test_another_frame_of_reference_or_another_code_is_another_finding() -> None:
    assert compare(reading(at(0)), reading(at(0, frame="1.2.8"))).scores == ()
    study = Finding(id="f", code=code("nodule"), place=StudyPlace())
    assert compare(reading(study), reading(study.model_copy(update={"code": code("lung")}))).scores == ()


def test_the_sum() -> None:
    rng = np.random.default_rng(1)
    pairs, live, shadow = [], [], []
    for n in range(40):
        score = float(rng.uniform(0.1, 0.9))
        a = reading(*([at(0, score)] if n % 2 else []), seconds=10.0)
        b = reading(*([at(1, score**2)] if n % 2 and n % 5 else []), seconds=5.0)
        live.append(bool(a.findings))
        shadow.append(bool(b.findings))
        pairs.append((str(b.state), compare(a, b)))
    pairs.append(("failed", None))
    pairs.append(("partial", compare(reading(at(0)), reading(at(0)).model_copy(update={"state": ReaderState.PARTIAL}))))
    found = summarise(pairs)
    # What failed, and what was read of an incomplete study, is counted and compared with nothing.
    assert (found.studies, found.both_looked) == (42, 40)
    assert (found.live_findings, found.shadow_findings, found.same_findings) == (20, 16, 16)
    assert found.live_found_again is not None
    assert found.live_found_again.value == 0.8
    assert found.kappa == cohen_kappa(np.array(live), np.array(shadow))
    # A score that only rises with the other one ranks alike.
    assert found.score_correlation == pytest.approx(1.0)
    assert (found.live_seconds, found.shadow_seconds) == (10.0, 5.0)


def test_too_little_says_nothing() -> None:
    found = summarise([("found", compare(reading(at(0)), reading(at(0))))])
    assert (found.kappa, found.score_correlation) == (None, None)
    empty = summarise([("failed", None)])
    assert (empty.both_looked, empty.live_found_again, empty.shadow_seconds) == (0, None, None)
    assert Pair.model_validate(compare(reading(), reading()).model_dump(mode="json")).scores == ()
