"""The drift watch by API and command: what is shown, to whom, and beginning a baseline anew."""

import json
import threading

import pytest
from drift_support import PLANTED, House, Season
from sqlalchemy import select
from web_support import Site

from readingroom.cli.main import main
from readingroom.core.audit import AuditEvent
from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.permissions import Role
from readingroom.review.judged import judged
from readingroom.workflow.drift import watch_drift

WEAK = Season(score=lambda rng: float(rng.beta(4, 8)))


def shifted(database: Database) -> None:
    """A scanner whose scores fall, and one with few readings."""
    with database.write() as session:
        one = House(session, seed=1)
        one.read(300, Season(), signed=True)
        one.read(150, WEAK, signed=True)
        House(session, seed=2, scanner={"Manufacturer": "Other", "ConvolutionKernel": "B30"}).read(30, Season())
    watch_drift(database, judged, threading.Event())


def test_what_is_watched_and_where_it_stands(site: Site) -> None:
    shifted(site.database)
    client = site.signed_in(Role.RESEARCHER)
    first, second = client.get("/api/v1/drift").json()
    assert (first["reader"], first["version"], first["scanner"], first["state"]) == (
        "lung-nodule", "2.0", "ACME CT-9, kernel Br40", "alarm",
    )  # fmt: skip
    assert (second["scanner"], second["state"]) == ("Other, kernel B30", "gathering")
    assert {(s["waiting"], s["needed"], s["newest"]) for s in second["streams"] if s["measure"] == "abstained"} == {
        (30, 100, None)
    }
    answer = client.get(f"/api/v1/drift/{first['id']}")
    shown = answer.json()
    score = next(stream for stream in shown["streams"] if stream["measure"] == "score")
    assert shown["streams"][0]["state"] == "alarm", "alarms first"
    assert (score["chart"], score["state"], score["title"]) == ("ewma", "alarm", "Top probability, mean")
    assert "Lucas & Saccucci" in score["source"]
    assert score["baseline"]["n"] == 100
    assert score["baseline"]["from_at"].startswith("2026-01-05")
    assert [point["number"] for point in score["points"]] == list(range(1, len(score["points"]) + 1))
    assert score["points"][-1] == score["newest"]
    assert score["newest"]["out"]
    assert score["newest"]["statistic"] < score["newest"]["lower"]
    assert not [word for word in (PLANTED, "DRIFT-1") if word in answer.text]


def test_nothing_is_watched_at_first(site: Site) -> None:
    client = site.signed_in(Role.ADMINISTRATOR)
    assert client.get("/api/v1/drift").json() == []
    assert client.get("/api/v1/drift/nothing").status_code == 404
    assert client.post("/api/v1/drift/nothing/restart", json={"reason": "new tube"}).status_code == 404


def test_a_known_change_begins_the_baselines_anew(site: Site) -> None:
    shifted(site.database)
    administrator, radiologist = site.signed_in(Role.ADMINISTRATOR), site.signed_in(Role.RADIOLOGIST)
    watch_id = administrator.get("/api/v1/drift").json()[0]["id"]
    path = f"/api/v1/drift/{watch_id}/restart"
    assert radiologist.post(path, json={"reason": "new tube"}).status_code == 403
    assert administrator.post(path, json={"reason": "  "}).status_code == 400
    assert administrator.post(path, json={"reason": "new tube"}).status_code == 204
    shown = radiologist.get(f"/api/v1/drift/{watch_id}").json()
    assert shown["state"] == "gathering"
    assert {(s["baseline"], s["newest"], len(s["points"])) for s in shown["streams"]} == {(None, None, 0)}
    (restart,) = shown["restarts"]
    assert (restart["actor"], restart["reason"]) == ("administrator", "new tube")
    with site.database.read() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "drift-restarted")).one()
    assert (event.actor, event.detail) == ("administrator", {"watch": watch_id})


def test_the_alarm_is_an_alert(site: Site) -> None:
    shifted(site.database)
    answer = site.signed_in(Role.ADMINISTRATOR).get("/api/v1/alerts").json()
    assert [item["kind"] for item in answer["items"]] == ["drift"]
    assert PLANTED not in json.dumps(answer)


def test_command(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(settings.home)]
    assert main(["drift", *home]) == 2
    assert "There is no index" in capsys.readouterr().err
    database = Database(settings.index_url)
    upgrade(database.engine)
    assert main(["drift", *home]) == 0
    assert "Nothing is watched yet" in capsys.readouterr().out
    shifted(database)
    database.close()
    assert main(["drift", *home]) == 1
    table = capsys.readouterr().out
    assert "lung-nodule 2.0 on ACME CT-9, kernel Br40" in table
    assert "ALARM" in table
    assert "not enough yet (30 of 100)" in table
    assert "100 readings, 2026-01-05 to 2026-01-" in table
    assert main(["drift", "--json", *home]) == 1
    assert json.loads(capsys.readouterr().out)[0]["state"] == "alarm"
    assert PLANTED not in table
