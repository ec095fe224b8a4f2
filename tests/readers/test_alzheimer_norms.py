"""Norms by closed form, by simulation and by hand: z, its spread over ages, its error, and where there is none."""

import math

import numpy as np
import pytest
from freesurfer_support import HEAD_MM3, stats_files, typical

from readingroom.core.errors import BadInput
from readingroom.readers.alzheimer.assess import Assessor
from readingroom.readers.alzheimer.norms import Form, People, Table, curve, fit, score, supported, why_not, z_scores
from readingroom.readers.alzheimer.regions import HEAD_SIZE, THICKNESSES, with_both_sides, words_of
from readingroom.readers.alzheimer.stats import read_stats

PLAIN = Form(bend=False, spread="constant", head="none")


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    return Assessor()


def people(age: np.ndarray, male: np.ndarray | None = None, head: np.ndarray | None = None) -> People:
    return People(
        age, np.arange(len(age)) % 2.0 if male is None else male, np.full(len(age), HEAD_MM3) if head is None else head
    )


def fitted(values: np.ndarray, who: People, form: Form, kind: str = "thickness") -> Table:
    return fit(kind, ["a"], values[:, None], who, form)  # type: ignore[arg-type]


def test_z_and_its_error_are_those_of_the_textbook() -> None:
    # Each age has a woman and a man of one value, so that sex has no effect and the rest is a straight line.
    age = np.repeat([62.0, 64, 67, 70, 73, 75, 78], 2)
    value = np.repeat([2.71, 2.69, 2.66, 2.65, 2.60, 2.61, 2.55], 2)
    table = fitted(value, people(age), PLAIN)
    slope = ((age - age.mean()) * (value - value.mean())).sum() / ((age - age.mean()) ** 2).sum()
    left = value - value.mean() - slope * (age - age.mean())
    spread = math.sqrt((left**2).sum() / (14 - 3))
    found = score(table, "a", 2.40, 72.0, True, None)
    z = (2.40 - (value.mean() + slope * (72 - age.mean()))) / spread
    assert found.z == pytest.approx(z, abs=1e-9)
    # Leverage: 1/n, age, and 1/n again for sex, which is balanced (Altman 1991, Practical statistics, 11.9).
    leverage = 1 / 14 + (72 - age.mean()) ** 2 / ((age - age.mean()) ** 2).sum() + 1 / 14
    assert found.error == pytest.approx(math.sqrt(leverage + z * z / (2 * 11)), abs=1e-9)
    assert found.low < found.z < found.high
    assert score(table, "a", 2.40, 72.0, True, None).percentile == pytest.approx(
        50 * (1 + math.erf(z / 2**0.5)), abs=1e-9
    )


def test_a_spread_that_grows_with_age_is_found() -> None:
    random = np.random.default_rng(3)
    age = random.uniform(20, 85, 4000)
    value = 3 - 0.05 * (age - 60) / 10 + random.normal(size=4000) * (0.10 + 0.02 * (age - 60) / 10)
    table = fitted(value, people(age), Form(bend=False, spread="linear", head="none"))
    at, change = table.norms["a"].spread
    assert (at, change) == (pytest.approx(0.10, abs=0.005), pytest.approx(0.02, abs=0.003))
    low, high = (
        curve(table, "a", [a], False, None, 1.0)[0] - curve(table, "a", [a], False, None, 0.0)[0] for a in (30, 80)
    )
    assert high > 2 * low


def test_head_size_is_a_power_and_scaled_heads_are_equal() -> None:
    random = np.random.default_rng(4)
    age, head = random.uniform(50, 90, 400), random.uniform(1.2e6, 1.9e6, 400)
    volume = 4000 * (head / HEAD_MM3) ** 0.6 * np.exp(-0.04 * (age - 60) / 10 + random.normal(0, 0.08, 400))
    table = fitted(volume, people(age, head=head), Form(bend=False, spread="constant", head="power"), "volume")
    assert table.norms["a"].mean[-1] == pytest.approx(0.6, abs=0.06)
    small, large = (score(table, "a", 4000 * (h / HEAD_MM3) ** 0.6, 70, True, h).z for h in (1.3e6, 1.8e6))
    assert abs(small - large) < 0.3


def test_new_people_are_as_far_as_z_says_and_its_error_is_that_of_repeating_the_study() -> None:
    random = np.random.default_rng(5)
    found, reached = [], []
    for _ in range(300):
        age = random.uniform(45, 90, 60)
        table = fitted(3 - 0.06 * (age - 60) / 10 + random.normal(0, 0.2, 60), people(age), PLAIN)
        found.append(score(table, "a", 2.5, 75, False, None))
        others = random.uniform(45, 90, 50)
        z = z_scores(table, ["a"], (3 - 0.06 * (others - 60) / 10 + random.normal(0, 0.2, 50))[:, None], people(others))
        reached.append(float((np.abs(z) < 1.96).mean()))
    assert 0.93 < np.mean(reached) < 0.96
    assert np.std([one.z for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.15)


def test_where_there_is_no_norm_there_is_no_z(assessor: Assessor) -> None:
    table = assessor.norms.tables["volume"]
    low, high = table.ages
    assert (low, high) == supported(np.repeat(np.arange(low, high + 1), 8))
    with pytest.raises(BadInput, match="hold from"):
        score(table, "Left-Hippocampus", 3500, high + 1, True, HEAD_MM3)
    assert "eTIV" in why_not(table, 70, None)
    assert "head size" in why_not(table, 70, 3e6)
    assert not why_not(table, 70, HEAD_MM3)
    young = assessor.assess(typical(age=30), 30, "F")
    assert {region.kind for region in young.regions} == {"thickness"}
    assert any("volume hold" in note for note in young.notes)
    assert young.probability is None
    assert assessor.assess(typical(), 75, "O").regions == ()
    assert assessor.assess(typical(), None, "F").regions == ()


def test_what_is_typical_is_at_zero_and_the_sign_is_right(assessor: Assessor) -> None:
    answer = assessor.assess(typical(), 75, "F")
    z = {region.name: region.z for region in answer.regions}
    assert max(abs(z[name]) for name in (*THICKNESSES, "Left-Hippocampus", "Right-Amygdala")) < 1e-6
    small = assessor.assess(typical(Left_Hippocampus=-3.0), 75, "F")
    by_name = {region.name: region for region in small.regions}
    assert by_name["Left-Hippocampus"].z == pytest.approx(-3, abs=1e-6)
    assert by_name["Hippocampus asymmetry"].z < -2
    assert by_name["Left-Hippocampus"].low < -3 < by_name["Left-Hippocampus"].high
    assert by_name["Left-Hippocampus"].percentile == pytest.approx(0.13, abs=0.01)
    assert by_name["Inf-Lat-Vent"].larger_is_worse
    assert not by_name["Hippocampus"].larger_is_worse
    assert len(z) > 170


def test_curves_go_through_the_patients_point(assessor: Assessor) -> None:
    found = assessor.curve("Left-Hippocampus", "F", 1500)
    at = found.ages.index(75)
    assert found.percentiles["50"][at] == pytest.approx(typical()["Left-Hippocampus"], abs=1e-3)
    rows = [found.percentiles[p][at] for p in ("2.5", "25", "50", "75", "97.5")]
    assert rows == sorted(rows)
    assert (found.ages[0], found.ages[-1]) == assessor.norms.tables["volume"].ages
    with pytest.raises(BadInput, match="no norm for this region"):
        assessor.curve("Left-Nonsense", "F", 1500)
    with pytest.raises(BadInput, match="eTIV"):
        assessor.curve("Left-Hippocampus", "F", None)


def test_the_probability_is_that_of_its_contributions_and_follows_bayes(assessor: Assessor) -> None:
    answer = assessor.assess(typical(Left_Hippocampus=-2.0, Right_Hippocampus=-2.0), 75, "F")
    assert answer.probability is not None
    log_odds = sum(part.weight for part in answer.contributions)
    assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(answer.probability, abs=1e-3)
    healthy = assessor.assess(typical(), 75, "F").probability
    assert healthy is not None
    assert healthy < answer.probability
    fewer = assessor.assess(typical(Left_Hippocampus=-2.0, Right_Hippocampus=-2.0), 75, "F", 0.05).probability
    before, odds = assessor.dementia.prevalence, answer.probability / (1 - answer.probability)
    moved = odds / (before / (1 - before)) * (0.05 / 0.95)
    assert fewer == pytest.approx(moved / (1 + moved), abs=1e-3)
    with pytest.raises(BadInput, match="prevalence"):
        assessor.assess(typical(), 75, "F", 1.0)
    younger = assessor.assess(typical(age=55), 55, "F")
    assert younger.probability is None
    assert any("60 years" in note for note in younger.notes)


def test_freesurfers_files_are_read_and_others_refused() -> None:
    person = typical()
    files = stats_files(person)
    read = read_stats(files.values())
    assert set(read) == set(person)
    assert all(read[name] == pytest.approx(person[name], rel=2e-3) for name in person)
    newer = files["aseg.stats"].replace("Thalamus-Proper", "Thalamus")
    assert with_both_sides(read_stats([newer]))["Thalamus-Proper"] == pytest.approx(
        with_both_sides(read)["Thalamus-Proper"]
    )
    for text, said in (
        (files["lh.aparc.stats"].replace("lh.aparc.annot", "lh.aparc.DKTatlas.annot"), "atlas"),
        (files["lh.aparc.stats"].replace("# hemi lh", ""), "hemisphere"),
        (files["aseg.stats"].replace("# ColHeaders  Index", "# ColHeaders"), "cut short|no number"),
        ("hello", "no aseg.stats"),
        ("x" * (300 << 10), "not that long"),
    ):
        with pytest.raises(BadInput, match=said):
            read_stats([text])
    other = stats_files(person | {"lh_insula_thickness": 1.0})
    with pytest.raises(BadInput, match="disagree"):
        read_stats([files["lh.aparc.stats"], other["lh.aparc.stats"]])
    with pytest.raises(BadInput, match="no FreeSurfer"):
        read_stats([])


def test_what_no_head_has_gets_no_z(assessor: Assessor) -> None:
    odd = typical() | {"Left-Hippocampus": 1e300, "Right-Amygdala": 0.0, "lh_insula_thickness": float("nan")}
    names = {region.name for region in assessor.assess(odd, 75, "F").regions}
    assert not names & {"Left-Hippocampus", "Hippocampus", "Right-Amygdala", "lh_insula_thickness"}
    assert "Right-Hippocampus" in names


def test_words() -> None:
    assert words_of("lh_entorhinal_thickness") == "left entorhinal, thickness"
    assert words_of("Right-Inf-Lat-Vent") == "right temporal horn, volume"
    assert words_of("Hippocampus asymmetry") == "hippocampus, asymmetry"
    assert HEAD_SIZE not in {words_of(HEAD_SIZE)}
