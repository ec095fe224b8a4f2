"""``readingroom account``, ``project`` and ``token``: by whoever has the home folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from readingroom.access.accounts import find_account
from readingroom.access.actor import actor_of
from readingroom.access.tables import ApiToken
from readingroom.access.tokens import find_token
from readingroom.archive.tables import Patient, Study, StudyPerson
from readingroom.cli.main import main
from readingroom.core.database import Database
from readingroom.core.permissions import Permission

Run = Callable[..., int]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("READINGROOM_PASSWORD", "correct horse battery")
    monkeypatch.setenv("READINGROOM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def index(home: Path) -> Database:
    assert main(["account", "add", "ann", "--role", "radiologist"]) == 0
    return Database(f"sqlite:///{home / 'index.sqlite'}")


def projects_of(index: Database, name: str) -> dict[str, set[Permission]]:
    with index.read() as session:
        actor = actor_of(session, find_account(session, name))
    return {project.name: set(project.permissions) for project in actor.projects.values()}


def test_people_start_in_care_and_machines_and_researchers_nowhere(index: Database) -> None:
    for role in ("researcher", "service", "technologist", "administrator"):
        assert main(["account", "add", role, "--role", role]) == 0
    found = {name: sorted(projects_of(index, name)) for name in ("ann", "researcher", "service", "technologist")}
    assert found == {"ann": ["care"], "researcher": [], "service": [], "technologist": ["care"]}


def test_projects_and_members(index: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", "add", "trial", "--kind", "research", "--title", "Nodules 2026"]) == 0
    assert main(["project", "members", "ann", "care", "trial=researcher"]) == 0
    found = projects_of(index, "ann")
    assert Permission.REPORT_SIGN in found["care"]
    # In the trial she reads and makes cohorts, and no more: a membership narrows.
    assert found["trial"] == {
        Permission.STUDY_QUERY, Permission.STUDY_READ, Permission.CONSENT_READ, Permission.COHORT_READ,
        Permission.COHORT_WRITE,
    }  # fmt: skip
    capsys.readouterr()
    assert main(["project", "list"]) == 0
    assert "ann as researcher" in capsys.readouterr().out
    assert main(["account", "add", "bob", "--role", "researcher", "--project", "trial"]) == 0
    assert sorted(projects_of(index, "bob")) == ["trial"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["project", "add", "care", "--kind", "care"],
        ["project", "add", "a b", "--kind", "care"],
        ["project", "members", "ann", "nowhere"],
        ["project", "members", "ann", "care=king"],
        ["project", "members", "ann", "care=researcher"],
        ["project", "file", "nothing", "care"],
        ["account", "add", "bob", "--role", "researcher", "--project", "care"],
        ["token", "create", "ann", "--name", "x", "--scope", "report:sign"],
        ["token", "create", "ann", "--name", "x", "--scope", "made:up"],
        ["token", "create", "ann", "--name", "x", "--scope", "study:query", "--days", "4000"],
        ["token", "create", "nobody", "--name", "x", "--scope", "study:query"],
        ["token", "revoke", "nothing"],
    ],
)
def test_what_does_not_fit_is_a_sentence(
    index: Database, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("readingroom: ")


def test_a_study_is_moved_and_its_people_are_no_longer_named(index: Database) -> None:
    with index.write() as session:
        patient = Patient(PatientID="1")
        session.add(patient)
        session.flush()
        study = Study(patient_pk=patient.id, StudyInstanceUID="1.2.3", restricted=True)
        session.add(study)
        session.flush()
        session.add(StudyPerson(study_id=study.id, account_id=find_account(session, "ann").id))
        study_id = study.id
    assert main(["project", "add", "trial", "--kind", "research"]) == 0
    assert main(["project", "file", study_id, "trial"]) == 0
    with index.read() as session:
        study = session.get_one(Study, study_id)
        assert (study.project_id, study.restricted) == (2, True)
        assert session.scalars(select(StudyPerson)).all() == []


def test_token_is_shown_once_listed_and_revoked(index: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "create", "ann", "--name", "script", "--scope", "study:query", "--project", "care"]) == 0
    text = capsys.readouterr().out.split()[0]
    with index.read() as session:
        row = session.scalars(select(ApiToken)).one()
        assert text not in (row.id, row.token_sha256)
        token = find_token(session, text)
        assert token is not None
        actor = actor_of(session, token.account, token=token)
    assert actor.permissions == {Permission.STUDY_QUERY}
    assert main(["token", "list", "ann"]) == 0
    listed = capsys.readouterr().out
    assert row.id in listed
    assert text not in listed
    assert main(["token", "revoke", row.id]) == 0
    with index.read() as session:
        assert find_token(session, text) is None
