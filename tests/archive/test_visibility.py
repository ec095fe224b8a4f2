"""Who sees a study, on both databases: the condition on lists and the look at one study agree, whoever asks."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from readingroom.access.accounts import create_account
from readingroom.access.actor import SYSTEM, Actor, actor_of
from readingroom.access.projects import create_project, set_memberships
from readingroom.access.tables import Account, ApiToken
from readingroom.archive.glass import break_glass
from readingroom.archive.tables import GlassBreak, Patient, Study, StudyPerson
from readingroom.archive.visibility import inherit, permissions_on, visible
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.permissions import ABOUT_STUDIES, Permission, ProjectKind, Role

PASSWORD = "correct horse battery"
P = Permission


@pytest.fixture
def house(database: Database) -> Database:
    """Projects care and trial; in each a study for all, one for ``rada`` alone and one whose glass was broken."""
    with database.write() as session:
        trial = create_project(session, "trial", ProjectKind.RESEARCH, actor="test").id
        people = {
            "rada": create_account(session, "rada", PASSWORD, Role.RADIOLOGIST),
            "resi": create_account(session, "resi", PASSWORD, Role.RESIDENT),
            "ada": create_account(session, "ada", PASSWORD, Role.ADMINISTRATOR),
            "rese": create_account(session, "rese", PASSWORD, Role.RESEARCHER, projects={"trial": Role.RESEARCHER}),
            "bot": create_account(session, "bot", PASSWORD, Role.SERVICE, projects={"care": Role.SERVICE}),
        }
        both = {"care": Role.RADIOLOGIST, "trial": Role.RESEARCHER}
        set_memberships(session, people["rada"], both, actor="test")
        patient = Patient(PatientID="1")
        session.add(patient)
        session.flush()
        for project in (1, trial):
            for number, word in enumerate(("open", "closed", "broken")):
                study = Study(
                    patient_pk=patient.id,
                    StudyInstanceUID=f"1.2.{project}.{number}",
                    StudyDescription=word,
                    project_id=project,
                    restricted=word != "open",
                )
                session.add(study)
                session.flush()
                if word == "closed":
                    session.add(StudyPerson(study_id=study.id, account_id=people["rada"].id))
                if word == "broken":
                    later = utc_now() + timedelta(hours=1)
                    for person in people.values():
                        session.add(
                            GlassBreak(account_id=person.id, study_id=study.id, reason="emergency", expires_at=later)
                        )
    return database


def actors(database: Database) -> dict[str, Actor]:
    """Everybody at the browser, by a token of theirs, and the house itself."""
    found = {"system": SYSTEM}
    with database.read() as session:
        for account in session.scalars(select(Account)):
            found[account.name] = actor_of(session, account, web_session="s")
            token = ApiToken(scopes=[scope.value for scope in Permission], project_id=None)
            found[f"{account.name} by token"] = actor_of(session, account, token=token)
    return found


def test_lists_and_the_look_at_one_study_agree(house: Database) -> None:
    asked = 0
    for name, actor in actors(house).items():
        with house.read() as session:
            for permission in ABOUT_STUDIES:
                listed = set(session.scalars(select(Study.id).where(visible(actor, permission))))
                for study in session.scalars(select(Study)).unique():
                    by_id = permissions_on(session, actor, study_id=study.id)
                    assert by_id == permissions_on(session, actor, uid=study.StudyInstanceUID)
                    assert by_id is not None
                    assert (study.id in listed) is (permission in by_id.permissions), (name, permission, study.id)
                    asked += 1
    assert asked == 11 * len(ABOUT_STUDIES) * 6


def test_who_sees_what(house: Database) -> None:
    seen = {}
    with house.read() as session:
        for name, actor in actors(house).items():
            rows = session.execute(
                select(Study.project_id, Study.StudyDescription).where(visible(actor)).order_by(Study.project_id)
            )
            seen[name] = {("care" if project == 1 else "trial", word) for project, word in rows}
    every = {(project, word) for project in ("care", "trial") for word in ("open", "closed", "broken")}
    broken = {("care", "broken"), ("trial", "broken")}
    assert seen == {
        "system": every,
        "rada": every,
        "rada by token": every - broken,
        "resi": {("care", "open")} | broken,
        "resi by token": {("care", "open")},
        "ada": broken,
        "ada by token": set(),
        # A researcher breaks no glass: whatever is written in the table.
        "rese": {("trial", "open")},
        "rese by token": {("trial", "open")},
        "bot": {("care", "open")},
        "bot by token": {("care", "open")},
    }


def test_what_they_may_do_there(house: Database) -> None:
    rada, ada = (actors(house)[name] for name in ("rada", "ada"))
    with house.read() as session:
        of = {
            (study.project_id == 1, study.StudyDescription): study.id
            for study in session.scalars(select(Study)).unique()
        }

        def may(actor: Actor, in_care: bool, word: str) -> frozenset[Permission]:
            found = permissions_on(session, actor, study_id=of[in_care, word])
            assert found is not None
            return found.permissions

        assert {P.REPORT_SIGN, P.STUDY_RESTRICT, P.STUDY_STORE} <= may(rada, True, "open")
        assert P.REPORT_SIGN not in may(rada, False, "open")
        assert may(ada, True, "open") == frozenset()
        assert may(ada, True, "broken") == {P.STUDY_QUERY, P.STUDY_READ}
        assert P.REPORT_SIGN in may(rada, True, "broken")
        assert P.STUDY_RESTRICT not in may(rada, True, "broken")
        broken = permissions_on(session, ada, study_id=of[True, "broken"])
        assert broken is not None
        assert broken.glass_until is not None
        assert permissions_on(session, rada, study_id="nothing") is None
        assert permissions_on(session, rada, uid="1.2.3.4.5") is None


def test_breaking_the_glass_opens_what_is_closed_and_no_more(house: Database) -> None:
    resi = actors(house)["resi"]
    opened = break_glass(house, resi, "patient_id", "1", "emergency", "")
    with house.read() as session:
        words = session.execute(
            select(Study.project_id, Study.StudyDescription).where(Study.id.in_(opened.study_ids))
        ).all()
    assert sorted(words) == [(1, "closed"), (2, "closed"), (2, "open")]
    with pytest.raises(NotFound):
        break_glass(house, resi, "patient_id", "1", "emergency", "")
    with pytest.raises(NotFound):
        break_glass(house, replace(resi), "accession_number", "", "emergency", "")


def test_named_people_pass_on_to_the_patient_s_next_study(house: Database) -> None:
    with house.write() as session:
        patient = session.scalars(select(Patient.id)).one()
        study = Study(patient_pk=patient, StudyInstanceUID="1.2.9")
        session.add(study)
        session.flush()
        inherit(session.connection(), study.id, patient)
        inherit(session.connection(), study.id, patient)
        session.refresh(study)
        assert study.restricted
        named = session.scalars(select(StudyPerson.account_id).where(StudyPerson.study_id == study.id)).all()
        assert named == [session.scalars(select(Account.id).where(Account.name == "rada")).one()]
