"""Growth between studies and which nodule is which."""

import math

import pytest
from findings.rules_support import Before, nodule

from readingroom.core.errors import BadInput
from readingroom.findings.rules import NoduleContext, assess, compare, followed, volume_doubling_days

CONTEXT = NoduleContext(screening=True, known_cancer=False)


def test_doubling_time_by_schwartz() -> None:
    assert volume_doubling_days(100, 200, 90) == pytest.approx(90)
    assert volume_doubling_days(100, 800, 90) == pytest.approx(30)
    # 26 % more diameter is twice the volume.
    assert volume_doubling_days(10**3, 12.6**3, 100) == pytest.approx(100, rel=0.01)
    assert volume_doubling_days(200, 100, 90) is None
    with pytest.raises(BadInput):
        volume_doubling_days(0, 100, 90)


def test_change_under_a_quarter_does_not_count() -> None:
    growth = compare(nodule("solid", 8, volume=124), nodule("solid", 8, volume=100), 90)
    assert not growth.significant
    assert growth.doubling_days == pytest.approx(90 * math.log(2) / math.log(1.24))
    assert [m.code.value for m in growth.measurements()] == ["diameter-change", "volume-change"]
    assert "within the 25 %" in growth.words()
    counted = compare(nodule("solid", 8, volume=125), nodule("solid", 8, volume=100), 90)
    assert counted.significant
    assert counted.doubling_range is not None
    assert counted.doubling_range[1] is None
    assert "perhaps no growth" in counted.words()
    assert counted.measurements()[-1].unit.value == "d"


def test_shrinking_counts_and_has_no_doubling_time() -> None:
    growth = compare(nodule("solid", 6, volume=60), nodule("solid", 8, volume=100), 90)
    assert growth.significant
    assert growth.doubling_days is None
    assert growth.diameter_mm == -2.0


def test_without_volumes_spheres_stand_in_and_it_is_said() -> None:
    growth = compare(nodule("solid", 12.6), nodule("solid", 10.0), 100)
    assert growth.from_diameters
    assert growth.doubling_days == pytest.approx(100, rel=0.01)
    assert "spheres" in growth.measurements()[-1].method


def test_uncertainty_brackets_the_doubling_time() -> None:
    growth = compare(nodule("solid", 10, volume=400), nodule("solid", 8, volume=100), 100)
    assert growth.doubling_days == pytest.approx(50)
    assert growth.doubling_range == pytest.approx((100 * math.log(2) / math.log(5), 100 * math.log(2) / math.log(3.2)))


def test_nothing_to_compare() -> None:
    growth = compare(nodule("solid"), nodule("solid", 8), 10)
    assert growth.words() == "In 10 days: no size to compare."
    assert growth.measurements() == ()
    with pytest.raises(BadInput):
        compare(nodule("solid"), nodule("solid"), 0)


def test_followed_by_tracking_uid_before_position() -> None:
    near = nodule("solid", 6, tracking="2.25.1")
    far = nodule("solid", 6, at=(50.0, 20.0, -300.0), tracking="2.25.2")
    now = nodule("solid", 7, tracking="2.25.2")
    (done,) = followed([now], [Before(90, (near, far))])
    assert done.tracking_uid == "2.25.2"
    assert done.earlier[0].matched_by == "tracking-uid"


def test_followed_by_position_takes_the_old_tracking_uid() -> None:
    then = nodule("solid", 6, at=(60.0, 25.0, -120.0), frame="1.9", tracking="2.25.7")
    (done,) = followed([nodule("solid", 7, tracking="2.25.8")], [Before(90, (then,))])
    assert (done.tracking_uid, done.tracking_id) == ("2.25.7", "t-2.25.7")
    assert done.earlier[0].found is True
    assert done.earlier[0].matched_by == "position"


def test_the_other_side_is_another_nodule_and_nothing_is_called_new() -> None:
    then = nodule("solid", 6, frame="1.9", side="right")
    (done,) = followed([nodule("solid", 7)], [Before(90, (then,))])
    assert done.earlier[0].found is None
    assessment = assess([nodule("solid", 7)], CONTEXT, [Before(90, (then,))]).findings[0].assessments[0]
    assert assessment.rule == "solid-baseline-6"
    assert "a match with the study 90 days before" in assessment.missing


def test_within_one_frame_what_lies_elsewhere_is_new() -> None:
    then = nodule("solid", 6, at=(50.0, 20.0, -200.0))
    (done,) = followed([nodule("solid", 7)], [Before(90, (then,))])
    assert done.earlier[0].found is False


def test_three_that_meet_prove_a_far_shift_and_each_goes_to_its_own() -> None:
    places = [(50.0, 20.0, -100.0), (70.0, 0.0, -150.0), (60.0, -30.0, -60.0)]
    then = [
        nodule("solid", 6, at=(x - 5, y + 4, z + 900), frame="1.9", tracking=f"2.25.{n}")
        for n, (x, y, z) in enumerate(places, 1)
    ]
    now = [nodule("solid", 6.2, at=at) for at in reversed(places)]
    new = nodule("solid", 5, at=(20.0, 20.0, -250.0))
    done = followed([*now, new], [Before(90, tuple(then))])
    assert [f.tracking_uid for f in done] == ["2.25.3", "2.25.2", "2.25.1", ""]
    assert [f.earlier[0].found for f in done] == [True, True, True, False]
    # Two that meet so far away may be chance.
    two = followed(now[:2], [Before(90, tuple(then[:2]))])
    assert {f.earlier[0].found for f in two} == {None}


def test_several_priors_latest_first_and_growth_against_the_latest() -> None:
    priors = [Before(700, (nodule("solid", 5, volume=65),)), Before(300, (nodule("solid", 6, volume=113),))]
    done = assess([nodule("solid", 8.5, volume=320)], CONTEXT, priors).findings[0]
    assert [one.days_before for one in done.earlier] == [300, 700]
    growths = {m.code.value: m for m in done.measurements}
    assert growths["diameter-change"].value == 2.5
    assert "300 days" in growths["doubling-time"].method
    assert done.assessments[0].rule == "solid-new-or-growing-8"


def test_assessing_again_changes_nothing_and_follows_an_edit() -> None:
    done = assess([nodule("solid", 9.0)], CONTEXT, [Before(300, (nodule("solid", 7.0),))]).findings
    assert done[0].assessments[0].rule == "solid-new-or-growing-8"
    assert assess(done, CONTEXT).findings == done
    smaller = nodule("solid", 7.2).measurements
    edited = done[0].model_copy(update={"measurements": smaller})
    again = assess([edited], CONTEXT).findings[0]
    assert again.assessments[0].rule == "stable-3"
    assert [m.value for m in again.measurements if m.code.value == "diameter-change"] == [0.2]
