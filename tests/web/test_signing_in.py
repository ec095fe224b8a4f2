"""Sign-in, sessions, CSRF and HTTP Basic as a browser and a machine see them."""

import base64
import time

import pytest
from sqlalchemy import select, update
from web_support import PASSWORD, Site

from readingroom.access import accounts, limits, passwords, sessions
from readingroom.access.tables import WebSession
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.permissions import Role


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_sign_in_who_am_i_sign_out(site: Site) -> None:
    client = site.client()
    assert client.get("/api/v1/session").json() == {"account": None}
    answer = client.post("/api/v1/session", json={"name": "radiologist", "password": PASSWORD})
    assert answer.status_code == 200
    account = answer.json()["account"]
    assert account["role"] == "radiologist"
    assert "report:sign" in account["permissions"]
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/api/v1/session").json() == answer.json()
    left = client.delete("/api/v1/session", headers={"X-CSRF-Token": answer.json()["csrf"]})
    assert left.json() == {"continue_at": ""}
    assert client.get("/api/v1/session").json() == {"account": None}


def test_cookie_of_a_signed_out_session_is_worth_nothing(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    token = client.cookies["readingroom_session"]
    client.delete("/api/v1/session")
    client.cookies.set("readingroom_session", token)
    assert client.get("/api/v1/worklist").status_code == 401


def test_wrong_password_is_a_plain_401_then_429(site: Site) -> None:
    client = site.client()
    for _ in range(limits.FAILURES_PER_NAME):
        answer = client.post("/api/v1/session", json={"name": "radiologist", "password": "wrong password"})
        assert answer.status_code == 401
        assert answer.json()["error"] == "sign-in-refused"
    answer = client.post("/api/v1/session", json={"name": "radiologist", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


def test_unknown_name_answers_as_a_wrong_password(site: Site) -> None:
    client = site.client()
    answers = [
        client.post("/api/v1/session", json={"name": name, "password": "wrong password"})
        for name in ("radiologist", "nobody")
    ]
    assert answers[0].json() == answers[1].json()


def test_changes_need_the_csrf_header(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    right = client.headers.pop("X-CSRF-Token")
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": right[:-1] + "~"}):
        answer = client.delete("/api/v1/session", headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"] == "csrf"
    assert client.get("/api/v1/worklist").status_code == 200
    assert client.delete("/api/v1/session", headers={"X-CSRF-Token": right}).status_code == 200


def test_token_of_another_session_is_refused(site: Site) -> None:
    first, second = site.signed_in(Role.RADIOLOGIST), site.signed_in(Role.ADMINISTRATOR)
    answer = first.delete("/api/v1/session", headers={"X-CSRF-Token": second.headers["X-CSRF-Token"]})
    assert answer.status_code == 403


def test_session_ends(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    with site.database.write() as session:
        session.execute(update(WebSession).values(seen_at=utc_now() - sessions.IDLE))
    assert client.get("/api/v1/worklist").status_code == 401


def test_use_keeps_a_session_alive(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    before = utc_now() - sessions.IDLE / 2
    with site.database.write() as session:
        session.execute(update(WebSession).values(seen_at=before))
    assert client.get("/api/v1/worklist").status_code == 200
    with site.database.read() as session:
        assert session.scalars(select(WebSession.seen_at)).one() > before


def test_disabled_account_is_out_at_once(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    with site.database.write() as session:
        accounts.disable_account(session, "radiologist", actor="administrator")
    assert client.get("/api/v1/worklist").status_code == 401


def test_basic_is_for_machines_addresses_only(site: Site) -> None:
    client = site.client()
    assert client.get("/api/v1/worklist", headers=basic("service", PASSWORD)).status_code == 401
    assert client.get("/metrics", headers=basic("service", PASSWORD)).status_code == 200
    answer = client.get("/metrics")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_page_gets_no_challenge(site: Site) -> None:
    """A browser would ask for a password by itself."""
    answer = site.client().get("/metrics", headers={"Sec-Fetch-Mode": "cors"})
    assert answer.status_code == 401
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("value", ["Basic", "Basic %%%", "Basic " + base64.b64encode(b"\xff\xfe").decode(), "Bearer x"])
def test_broken_credentials(site: Site, value: str) -> None:
    assert site.client().get("/metrics", headers={"Authorization": value}).status_code == 401


def test_basic_is_limited_and_does_not_trust_its_memory_too_long(site: Site) -> None:
    client = site.client()
    assert client.get("/metrics", headers=basic("service", PASSWORD)).status_code == 200
    with site.database.write() as session:
        accounts.change_password(session, "service", "another long one", actor="administrator")
    assert client.get("/metrics", headers=basic("service", PASSWORD)).status_code == 401
    for _ in range(limits.FAILURES_PER_NAME):
        status = client.get("/metrics", headers=basic("service", "wrong password")).status_code
    assert status == 429


def test_basic_pays_for_argon2_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    is_right = passwords.is_right
    monkeypatch.setattr(passwords, "is_right", lambda *a: calls.append(1) or is_right(*a))
    client = site.client()
    begun = time.perf_counter()
    for _ in range(10):
        assert client.get("/metrics", headers=basic("service", PASSWORD)).status_code == 200
    assert len(calls) == 1
    assert time.perf_counter() - begun < 5


def test_sign_in_is_audited(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    client.delete("/api/v1/session")
    with site.database.read() as session:
        events = [(e.action, e.actor) for e in session.scalars(select(AuditEvent).order_by(AuditEvent.id))]
    assert ("sign-in-web", "radiologist") in events
    assert ("sign-out", "radiologist") in events
