"""API tokens and sessions as a program and their owner see them."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update
from web_support import PASSWORD, Site

from readingroom.access import tokens
from readingroom.access.accounts import find_account
from readingroom.access.projects import set_memberships
from readingroom.access.tables import ApiToken, WebSession
from readingroom.access.tokens import scopes_of
from readingroom.core.clock import utc_now
from readingroom.core.permissions import FOR_TOKENS, ROLE_PERMISSIONS, Role


def make(client, **changes):  # type: ignore[no-untyped-def]
    body = {"name": "script", "scopes": ["study:query", "study:read"], "days": 30}
    return client.post("/api/v1/account/tokens", json=body | changes)


def bearer(site: Site, text: str):  # type: ignore[no-untyped-def]
    client = site.client()
    client.headers["Authorization"] = f"Bearer {text}"
    return client


def test_shown_once_kept_as_its_digest_and_used(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    made = make(client)
    assert made.status_code == 201, made.text
    text = made.json()["token"]
    assert text.startswith("rr_")
    assert len(text) > 43
    listed = client.get("/api/v1/account/tokens")
    assert text not in listed.text
    (shown,) = listed.json()["items"]
    assert (shown["name"], shown["used_at"], shown["revoked_at"]) == ("script", None, None)
    assert set(listed.json()["scopes"]) == ROLE_PERMISSIONS[Role.RADIOLOGIST] & FOR_TOKENS
    with site.database.read() as session:
        (row,) = session.scalars(select(ApiToken))
    assert text not in (row.token_sha256, row.id)
    program = bearer(site, text)
    assert program.get("/api/v1/worklist").status_code == 200
    assert program.get("/dicomweb/studies").status_code == 204
    assert client.get("/api/v1/account/tokens").json()["items"][0]["used_at"] is not None


def test_scopes_bound_it_on_every_entrance(site: Site) -> None:
    program = bearer(site, make(site.signed_in(Role.ADMINISTRATOR), scopes=["system:read"]).json()["token"])
    assert program.get("/metrics").status_code == 200
    assert program.get("/api/v1/system").status_code == 200
    for path in ("/api/v1/worklist", "/dicomweb/studies", "/api/v1/readers", "/api/v1/accounts", "/api/v1/account"):
        assert program.get(path).status_code == 403, path


def test_a_change_by_token_needs_no_csrf_header(site: Site) -> None:
    token = make(site.signed_in(Role.TECHNOLOGIST), scopes=["study:store"]).json()["token"]
    assert bearer(site, token).post("/api/v1/import", files={"file": ("a", b"x")}).status_code == 200


def test_a_token_makes_no_tokens_and_ends_no_sessions(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    program = bearer(site, make(client, scopes=list(scopes_of(Role.RADIOLOGIST))).json()["token"])
    assert make(program).status_code == 403
    assert program.get("/api/v1/account/tokens").status_code == 403
    assert program.get("/api/v1/account/sessions").status_code == 403
    assert program.delete("/api/v1/session").status_code == 403
    assert program.post("/api/v1/glass", json={}).status_code == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []}, {"scopes": ["report:sign"]}, {"scopes": ["study:query", "account:manage"]}, {"scopes": ["x"]},
        {"days": 0}, {"days": 367}, {"name": ""}, {"name": "a\nb"}, {"project": "trial"}, {"project": "nowhere"},
    ],
)  # fmt: skip
def test_what_a_token_cannot_be(site: Site, changes: dict[str, object]) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    assert make(client, **changes).status_code in (400, 404, 422)
    assert client.get("/api/v1/account/tokens").json()["items"] == []


def test_token_for_one_project_reaches_nothing_else(site: Site) -> None:
    with site.database.write() as session:
        account = find_account(session, "radiologist")
        roles = {"care": Role.RADIOLOGIST, "trial": Role.RADIOLOGIST}
        set_memberships(session, account, roles, actor="test")
    client = site.signed_in(Role.RADIOLOGIST)
    scopes = ["study:query", "study:store", "reader:read"]
    program = bearer(site, make(client, scopes=scopes, project="trial").json()["token"])
    assert program.get("/api/v1/worklist").status_code == 200
    assert program.get("/api/v1/readers").status_code == 403
    assert program.post("/api/v1/import", files={"file": ("a", b"x")}, data={"project": "care"}).status_code == 404
    # Out of the project, the token is worth nothing any more.
    with site.database.write() as session:
        set_memberships(session, find_account(session, "radiologist"), {"care": Role.RADIOLOGIST}, actor="test")
    assert program.get("/api/v1/worklist").json()["total"] == 0
    assert program.post("/api/v1/import", files={"file": ("a", b"x")}).status_code == 403


@pytest.mark.parametrize("end", ["revoked", "expired", "account disabled", "changed"])
def test_it_ends_at_once(site: Site, end: str) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    made = make(client).json()
    program = bearer(site, made["token"])
    assert program.get("/api/v1/worklist").status_code == 200
    if end == "revoked":
        assert client.delete(f"/api/v1/account/tokens/{made['id']}").status_code == 204
        assert client.get("/api/v1/account/tokens").json()["items"][0]["revoked_at"] is not None
    elif end == "changed":
        program.headers["Authorization"] = program.headers["Authorization"][:-1] + "~"
    else:
        with site.database.write() as session:
            if end == "expired":
                session.execute(update(ApiToken).values(expires_at=utc_now() - timedelta(seconds=1)))
            else:
                find_account(session, "radiologist").disabled = True
    assert program.get("/api/v1/worklist").status_code == 401
    assert program.get("/dicomweb/studies").status_code == 401


def test_role_that_shrinks_shrinks_its_tokens(site: Site) -> None:
    program = bearer(
        site, make(site.signed_in(Role.RADIOLOGIST), scopes=["finding:judge", "study:query"]).json()["token"]
    )
    with site.database.write() as session:
        find_account(session, "radiologist").role = Role.TECHNOLOGIST.value
    assert program.post("/api/v1/studies/any/verdicts", json={}).status_code == 403
    assert program.get("/api/v1/worklist").status_code == 200


def test_nobody_revokes_another_s(site: Site) -> None:
    made = make(site.signed_in(Role.RADIOLOGIST)).json()
    assert site.signed_in(Role.RESIDENT).delete(f"/api/v1/account/tokens/{made['id']}").status_code == 404
    assert bearer(site, made["token"]).get("/api/v1/worklist").status_code == 200


def test_making_one_wants_a_fresh_proof(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    with site.database.write() as session:
        session.execute(update(WebSession).values(proved_at=utc_now() - timedelta(hours=1)))
    refused = make(client)
    assert refused.status_code == 403
    assert refused.json()["error"] == "proof-needed"


def test_use_is_noted_now_and_then(site: Site) -> None:
    program = bearer(site, make(site.signed_in(Role.RADIOLOGIST)).json()["token"])
    program.get("/api/v1/worklist")
    with site.database.read() as session:
        (first,) = session.scalars(select(ApiToken.used_at))
    program.get("/api/v1/worklist")
    with site.database.write() as session:
        assert session.scalars(select(ApiToken.used_at)).one() == first
        session.execute(update(ApiToken).values(used_at=utc_now() - tokens.TOUCH_EVERY))
    program.get("/api/v1/worklist")
    with site.database.read() as session:
        assert session.scalars(select(ApiToken.used_at)).one() > first


def test_my_sessions_and_ending_one(site: Site) -> None:
    here, there = site.signed_in(Role.RADIOLOGIST), site.client()
    signed = there.post(
        "/api/v1/session",
        json={"name": "radiologist", "password": PASSWORD},
        headers={"User-Agent": "Other browser\x7f" + "x" * 300},
    )
    assert signed.status_code == 200
    mine = here.get("/api/v1/account/sessions").json()
    assert [one["current"] for one in mine] == [True, False]
    assert mine[1]["browser"].startswith("Other browser")
    assert len(mine[1]["browser"]) == 200
    stranger = site.signed_in(Role.RESIDENT)
    assert stranger.delete(f"/api/v1/account/sessions/{mine[1]['id']}").status_code == 404
    assert here.delete(f"/api/v1/account/sessions/{mine[1]['id']}").status_code == 204
    assert there.get("/api/v1/session").json() == {"account": None}
    assert here.get("/api/v1/worklist").status_code == 200
