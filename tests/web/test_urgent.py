"""Urgent alerts and the simulated day by API: who is told of what, acknowledging, signing, bounds."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update
from urgent_support import PLANTED, add_study, alerts, finding, read
from web_support import Site

from readingroom.access.tables import Project, WebSession
from readingroom.archive.tables import Study
from readingroom.core.clock import utc_now
from readingroom.core.permissions import Role
from readingroom.worklist.urgent.tables import UrgentEvent

URGENT = "/api/v1/urgent"


@pytest.fixture
def raised(site: Site) -> str:
    study = add_study(site.database)
    read(site.database, study, [finding()])
    return study


def address(site: Site, study: str, what: str) -> str:
    (alert,) = alerts(site.database, study)
    return f"/api/v1/studies/{study}/urgent/{alert.id}/{what}"


def test_shown_and_acknowledged(site: Site, raised: str) -> None:
    client = site.signed_in(Role.RESIDENT)
    answer = client.get(URGENT)
    (line,) = answer.json()["items"]
    assert (answer.json()["waiting"], line["study_id"], line["state"], line["finding"]) == (
        1, raised, "raised", "intracranial hemorrhage, probability 0.91",
    )  # fmt: skip
    assert (line["told"], line["may_acknowledge"], line["waiting"]) == (False, True, True)
    assert PLANTED not in answer.text
    assert client.get(URGENT, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert client.post(address(site, raised, "shown")).status_code == 204
    changed = client.get(URGENT, headers={"If-None-Match": answer.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.json()["items"][0]["told"]
    assert client.get("/api/v1/worklist").json()["items"][0]["urgent"]["state"] == "shown"
    assert client.post(address(site, raised, "acknowledge")).status_code == 204
    assert client.get(URGENT).json() == {"waiting": 0, "items": []}
    (line,) = client.get(f"{URGENT}?everything=true").json()["items"]
    assert (line["state"], line["acknowledged_by"], line["may_acknowledge"]) == ("acknowledged", "resident", False)
    assert set(line["times"]) == {"received", "read", "raised", "shown", "acknowledged", "signed"}
    assert client.post(f"/api/v1/studies/{raised}/urgent/none/acknowledge").status_code == 404
    with site.database.read() as session:
        kinds = session.scalars(select(UrgentEvent.kind).order_by(UrgentEvent.id)).all()
    assert kinds == ["raised", "shown", "acknowledged"]


def test_who_may_see_but_not_judge_does_not_acknowledge(site: Site, raised: str) -> None:
    client = site.signed_in(Role.TECHNOLOGIST)
    (line,) = client.get(URGENT).json()["items"]
    assert not line["may_acknowledge"]
    for what in ("shown", "acknowledge"):
        assert client.post(address(site, raised, what)).status_code == 403
    assert alerts(site.database, raised)[0].shown_at is None


def restrict(site: Site, study: str) -> None:
    with site.database.write() as session:
        session.get_one(Study, study).restricted = True


def to_trial(site: Site, study: str) -> None:
    with site.database.write() as session:
        trial = session.scalars(select(Project.id).where(Project.name == "trial")).one()
        session.get_one(Study, study).project_id = trial


@pytest.mark.parametrize("close", [restrict, to_trial])
def test_who_may_not_see_the_study_learns_nothing(site: Site, raised: str, close: Callable[[Site, str], None]) -> None:
    close(site, raised)
    for role in (Role.RADIOLOGIST, Role.RESIDENT, Role.TECHNOLOGIST, Role.ADMINISTRATOR, Role.SERVICE):
        client = site.signed_in(role)
        assert client.get(f"{URGENT}?everything=true").json() == {"waiting": 0, "items": []}, role
    reader = site.signed_in(Role.RADIOLOGIST)
    for what in ("shown", "acknowledge"):
        assert reader.post(address(site, raised, what)).status_code == 404
    # Members of the trial see it; nobody of the trial judges here.
    seen = site.signed_in(Role.RESEARCHER).get(URGENT).json()["waiting"]
    assert seen == (1 if close is to_trial else 0)


def test_signing_ends_it(site: Site, raised: str) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    no_more = {"kind": "no-further-findings", "revision": 1}
    accept = {"kind": "accept", "finding_id": "f1", "revision": 1}
    for verdict in (accept, no_more):
        assert client.post(f"/api/v1/studies/{raised}/verdicts", json=verdict).status_code == 200
    report = client.get(f"/api/v1/studies/{raised}/report").json()
    study = client.get(f"/api/v1/studies/{raised}").json()
    body = {
        "etag": report["etag"], "revision": 1, "patient_id": study["patient"]["PatientID"], "accession_number": "",
        "acknowledged": [flag["code"] for flag in study["flags"]],
    }  # fmt: skip
    answer = client.post(f"/api/v1/studies/{raised}/report/sign", json=body)
    assert answer.status_code == 200, answer.text
    (line,) = client.get(f"{URGENT}?everything=true").json()["items"]
    assert (line["state"], line["closed_why"]) == ("closed", "signed")
    assert line["times"]["signed"]


def test_asking_for_alerts_keeps_no_session_open(site: Site) -> None:
    """The page asks all the time, on a screen that nobody is at as well."""
    client = site.signed_in(Role.RADIOLOGIST)
    past = utc_now() - timedelta(minutes=30)

    def seen() -> datetime:
        with site.database.read() as session:
            return session.scalars(select(WebSession.seen_at)).one()

    with site.database.write() as session:
        session.execute(update(WebSession).values(seen_at=past))
    assert client.get(URGENT).status_code == 200
    assert seen() == past
    assert client.get("/api/v1/readers").status_code == 200
    assert seen() > past


# The simulated day

DAY = "/api/v1/simulated-day"


def test_a_day_with_the_numbers_that_are_set(site: Site) -> None:
    client = site.signed_in(Role.RESEARCHER)
    body = {"studies_per_day": 100, "radiologists": 2, "days": 5, "seed": 3, "sensitivity": 1, "specificity": 1}
    answer = client.post(DAY, json=body)
    assert answer.status_code == 200, answer.text
    groups = {group["name"]: group for group in answer.json()["groups"]}
    assert set(groups) == {"positives", "found", "negatives", "true-negatives"}
    assert groups["positives"] == groups["found"] | {"name": "positives"}
    assert client.post(DAY, json=body).json() == answer.json()
    assert client.post(DAY, json=body | {"seed": 4}).json() != answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"studies_per_day": 0}, {"days": 1}, {"radiologists": 0}, {"prevalence": 1.1}, {"sensitivity": -0.1},
        {"seed": -1}, {"reading_minutes": 0}, {"unknown": 1}, {"studies_per_day": "NaN"}, {"reader_minutes": 1e9},
    ],
)  # fmt: skip
def test_a_day_out_of_bounds(site: Site, body: dict[str, object]) -> None:
    assert site.signed_in(Role.RADIOLOGIST).post(DAY, json=body).status_code == 422


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"studies_per_day": 400}, "would take 208% of the radiologists' time"),
        ({"days": 400}, "more than 20,000 studies"),
        ({"stat_share": 0.6, "high_share": 0.5}, "more than all orders"),
    ],
)
def test_a_day_that_cannot_be_simulated(site: Site, body: dict[str, object], why: str) -> None:
    answer = site.signed_in(Role.RADIOLOGIST).post(DAY, json=body)
    assert answer.status_code == 400
    assert why in answer.json()["message"]
