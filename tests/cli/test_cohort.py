"""``readingroom cohort``: from the question to the counted look, as the operator types it."""

import json
from pathlib import Path

import pytest
from cohort_support import Place, nodule
from support import ROOT

from readingroom.cli.main import main
from readingroom.core.config import load_settings
from readingroom.core.database import Database, upgrade

READER = "lung-nodule"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with eight patients who allow training, each read and judged, and one who said nothing."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    settings = load_settings(home)
    database = Database(settings.index_url)
    upgrade(database.engine)
    place = Place(settings, database)
    for n in range(8):
        study = place.willing(f"P{n}")
        place.read(study, nodule(f"n{n}"), reader=READER)
        place.judge(study, "accept", f"n{n}")
        place.finish(study)
    place.send("Q")
    database.close()
    return home


def test_a_cohort_from_the_question_to_the_look(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        status = main(["cohort", *words, "--home", str(home)])
        told = capsys.readouterr()
        return status, told.out, told.err

    question = ("--modality", "CT", "--no-signed", "--test", "0.5", "--validation", "0.1")
    assert run("add", "lungs", "--project", "care", "--purpose", "training", *question)[0] == 0
    assert "never frozen" in run("list")[1]
    assert run("export", "lungs")[0] == 2
    status, out, _ = run("freeze", "lungs")
    assert status == 0
    assert "left out, no-consent: 1" in out
    status, _, err = run("freeze", "lungs")
    assert (status, "Nothing has changed" in err) == (2, True)
    assert run("evaluate", "lungs", READER, "--why", "too early")[0] == 2
    assert "label set 1 of version 1" in run("labels", "lungs")[1]
    for number in (1, 2, 3):
        status, out, _ = run("evaluate", "lungs", READER, "--why", f"release {number}")
        assert status == 0
        assert f"This is evaluation {number} of this test set." in out
        assert "sensitivity: 1.000" in out
    status, _, err = run("evaluate", "lungs", READER, "--why", "")
    assert (status, "Say why" in err) == (2, True)
    out = run("show", "lungs")[1]
    assert "evaluation 3: lung-nodule 1" in out
    assert "release 3" in out
    assert "test: locked" in out
    assert "looked at 3 times" in run("list")[1]

    target = home / "lungs.jsonl"
    assert run("export", "lungs", "--out", str(target))[0] == 0
    lines = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    part = {line["study_id"]: line["part"] for line in lines if line["type"] == "member"}
    told_of = {line["study_id"] for line in lines if line["type"] == "label"}
    assert told_of == {study for study, where in part.items() if where != "test"}
    assert "P0" not in target.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("freeze", "nobody"), "no such cohort"),
        (("add", "a", "--project", "elsewhere", "--purpose", "training"), "no project"),
        (("add", "a", "--project", "care", "--purpose", "training", "--from", "1 May"), "cannot be used"),
        (("add", "a", "--project", "care", "--purpose", "training", "--test", "0.99"), "cannot be used"),
        (("add", "a", "--project", "care", "--purpose", "training", "--folder", str(ROOT)), "no legal basis"),
    ],
)
def test_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
    assert main(["cohort", *words, "--home", str(tmp_path / "home")]) == 2
    assert says in capsys.readouterr().err
