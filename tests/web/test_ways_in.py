"""The ways in as a browser sees them: codes, passkeys, first run, proof asked again, my account, OpenID."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from oidc_support import provider_settings, running_provider, visit
from soft_authenticator import SoftAuthenticator
from sqlalchemy import select, update
from web_support import PASSWORD, Site, make_site

from readingroom.access import first_run, sessions
from readingroom.access.second_factor import STEP_SECONDS, code_at
from readingroom.access.tables import TotpFactor, WebSession
from readingroom.archive.receive import Archive
from readingroom.archive.store import open_store
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Role
from readingroom.web.app import create_app

API = "/api/v1"


def at_localhost(site: Site) -> TestClient:
    return TestClient(site.pages, base_url="http://localhost", raise_server_exceptions=False)


def sign_in(client: TestClient, name: str) -> dict[str, Any]:
    answer = client.post(f"{API}/session", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    client.headers["X-CSRF-Token"] = body.get("csrf", "")
    return body


def code_now(site: Site) -> str:
    """The app's code of this moment; what was taken before is forgotten, so that a test need not wait half a minute."""
    with site.database.write() as session:
        factor = session.query(TotpFactor).one()
        factor.last_step = 0
        secret = site.pages.state.secrets.open(factor.secret, f"totp {factor.account_id}")
    return code_at(secret, int(utc_now().timestamp()) // STEP_SECONDS)


def long_ago(site: Site, ago: timedelta) -> None:
    """Make every session one whose person showed who they are so long ago."""
    with site.database.write() as session:
        session.execute(update(WebSession).values(proved_at=utc_now() - ago))


def enrol_app(site: Site, client: TestClient) -> list[str]:
    begun = client.post(f"{API}/account/app").json()
    assert begun["qr"].startswith("data:image/svg+xml")
    assert begun["secret"] in begun["uri"]
    answer = client.post(f"{API}/account/app/confirm", json={"code": code_now(site)})
    assert answer.status_code == 200, answer.text
    codes: list[str] = answer.json()["recovery_codes"]
    return codes


def add_passkey(client: TestClient) -> SoftAuthenticator:
    device = SoftAuthenticator("http://localhost", "localhost")
    asked = client.post(f"{API}/account/passkeys/question").json()
    body = {"ticket": asked["ticket"], "name": "phone", "credential": device.register(asked["options"])}
    assert client.post(f"{API}/account/passkeys", json=body).status_code == 201
    return device


def test_code_after_password(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    codes = enrol_app(site, client)
    other = site.client()
    owed = sign_in(other, "radiologist")
    assert owed["account"] is None
    assert not other.cookies
    wrong = other.post(f"{API}/session/code", json={"ticket": owed["code_owed"], "code": "000000"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "code-refused")
    done = other.post(f"{API}/session/code", json={"ticket": owed["code_owed"], "code": code_now(site)})
    assert done.json()["account"]["name"] == "radiologist"
    assert other.get(f"{API}/worklist").status_code == 200
    mine = client.get(f"{API}/account").json()
    assert (mine["app"], mine["recovery_codes_left"]) == (True, len(codes))
    assert client.delete(f"{API}/account/app").status_code == 204
    assert sign_in(site.client(), "radiologist")["account"] is not None


def test_passkey_from_registration_to_sign_in(site: Site) -> None:
    client = at_localhost(site)
    sign_in(client, "radiologist")
    device = add_passkey(client)
    other = at_localhost(site)
    asked = other.post(f"{API}/session/passkey/question").json()
    answer = other.post(
        f"{API}/session/passkey", json={"ticket": asked["ticket"], "credential": device.sign(asked["options"])}
    )
    assert answer.json()["account"]["name"] == "radiologist"
    (shown,) = other.get(f"{API}/account").json()["passkeys"]
    assert (shown["name"], shown["rp_id"]) == ("phone", "localhost")
    other.headers["X-CSRF-Token"] = answer.json()["csrf"]
    assert other.delete(f"{API}/account/passkeys/{shown['id']}").status_code == 204
    assert other.delete(f"{API}/account/passkeys/{shown['id']}").status_code == 404


def test_where_passkeys_cannot_be_it_is_said(site: Site) -> None:
    assert "open http://localhost to use them" in site.client().get(f"{API}/about").json()["no_passkeys"]
    assert at_localhost(site).get(f"{API}/about").json()["no_passkeys"] == ""
    refused = site.client().post(f"{API}/session/passkey/question")
    assert (refused.status_code, refused.json()["error"]) == (422, "unsupported")


def test_passkeys_are_the_configured_addresss(sqlite_database: Database, settings: Settings) -> None:
    site = make_site(sqlite_database, settings.model_copy(update={"web_address": "https://reading.example"}))
    client = at_localhost(site)
    assert "open https://reading.example to use them" in client.get(f"{API}/about").json()["no_passkeys"]
    assert client.post(f"{API}/session/passkey/question").json()["options"]["rpId"] == "reading.example"
    answer = client.post(f"{API}/session", json={"name": "radiologist", "password": PASSWORD})
    assert "; Secure" in answer.headers["set-cookie"]


def test_what_changes_a_way_in_wants_a_fresh_proof(site: Site) -> None:
    client = at_localhost(site)
    sign_in(client, "radiologist")
    device = add_passkey(client)
    enrol_app(site, client)
    calls = [
        ("POST", "/account/app"), ("DELETE", "/account/app"), ("POST", "/account/recovery-codes"),
        ("POST", "/account/passkeys/question"), ("DELETE", "/account/passkeys/x"),
    ]  # fmt: skip
    long_ago(site, sessions.FRESH)
    for method, path in calls:
        answer = client.request(method, API + path)
        assert (answer.status_code, answer.json()["error"]) == (403, "proof-needed"), path

    def by_passkey() -> int:
        asked = client.post(f"{API}/session/proof/passkey/question").json()
        body = {"ticket": asked["ticket"], "credential": device.sign(asked["options"])}
        return client.post(f"{API}/session/proof/passkey", json=body).status_code

    for proof in (
        lambda: client.post(f"{API}/session/proof", json={"password": PASSWORD}).status_code,
        lambda: client.post(f"{API}/session/proof", json={"code": code_now(site)}).status_code,
        by_passkey,
    ):
        long_ago(site, sessions.FRESH)
        assert proof() == 204
        assert client.post(f"{API}/account/recovery-codes").status_code == 200
    long_ago(site, sessions.FRESH)
    for body, status in (({"password": "wrong password"}, 401), ({"code": "000000"}, 401), ({}, 400)):
        assert client.post(f"{API}/session/proof", json=body).status_code == status
    assert client.post(f"{API}/account/recovery-codes").status_code == 403
    assert client.get(f"{API}/worklist").status_code == 200, "the session itself is good"


def test_signing_wants_a_proof_of_the_last_hours(site: Site, study_id: str) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    path = f"{API}/studies/{study_id}/report"
    client.get(path)
    sent = {
        "sign": {"etag": 0, "revision": 1, "patient_id": "of somebody else", "accession_number": ""},
        "addenda": {"text": "before it is signed"},
    }
    within = timedelta(seconds=site.settings.sign_proof_seconds)
    for action, body in sent.items():
        # What is sent is refused for what it is, once the proof is new enough to look at it.
        for ago, refusal in ((within - timedelta(minutes=1), "conflict"), (within, "proof-needed")):
            long_ago(site, ago)
            assert client.post(f"{path}/{action}", json=body).json()["error"] == refusal
    assert client.post(f"{API}/session/proof", json={"password": PASSWORD}).status_code == 204
    assert client.post(f"{path}/sign", json=sent["sign"]).json()["error"] == "conflict"


def test_change_of_password(site: Site) -> None:
    client, elsewhere = site.signed_in(Role.RADIOLOGIST), site.signed_in(Role.RADIOLOGIST)
    new = "tinfoil kettle ostrich"
    for current, wanted, status in (("wrong password", new, 401), (PASSWORD, "short", 400), (PASSWORD, new, 204)):
        answer = client.put(f"{API}/account/password", json={"current": current, "new": wanted})
        assert answer.status_code == status, answer.text
    assert client.get(f"{API}/worklist").status_code == 200
    assert elsewhere.get(f"{API}/worklist").status_code == 401
    answer = site.client().post(f"{API}/session", json={"name": "radiologist", "password": new})
    assert answer.status_code == 200


def test_a_role_that_owes_a_second_factor_can_only_set_one_up(sqlite_database: Database, settings: Settings) -> None:
    required = {"second_factor_required": (Role.RADIOLOGIST,)}
    site = make_site(sqlite_database, settings.model_copy(update=required))
    client = at_localhost(site)
    account = sign_in(client, "radiologist")["account"]
    assert account["second_factor_owed"]
    assert account["permissions"] == ["public", "session"]
    assert client.get(f"{API}/worklist").status_code == 403
    assert client.get("/dicomweb/studies").status_code == 403
    enrol_app(site, client)
    assert client.get(f"{API}/worklist").status_code == 200
    assert client.get(f"{API}/session").json()["account"]["second_factor_owed"] is False
    refused = client.delete(f"{API}/account/app")
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    add_passkey(client)
    assert client.delete(f"{API}/account/app").status_code == 204
    (last,) = client.get(f"{API}/account").json()["passkeys"]
    assert client.delete(f"{API}/account/passkeys/{last['id']}").status_code == 409
    owed = at_localhost(site).post(f"{API}/session", json={"name": "radiologist", "password": PASSWORD})
    assert (owed.status_code, owed.json()["error"]) == (403, "passkey-owed")
    assert sign_in(at_localhost(site), "administrator")["account"]["second_factor_owed"] is False


def test_first_run(sqlite_database: Database, settings: Settings) -> None:
    token = first_run.offer(sqlite_database)
    app = create_app(settings, sqlite_database, Archive(settings, sqlite_database, open_store(settings)))
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert client.get(f"{API}/about").json()["set_up_owed"] is True
    body = {"token": token, "name": "root", "password": PASSWORD}
    assert client.post(f"{API}/set-up", json={**body, "password": "short"}).status_code == 400
    assert client.post(f"{API}/set-up", json={**body, "token": "x"}).status_code == 410
    made = client.post(f"{API}/set-up", json=body)
    assert made.json()["account"]["role"] == "administrator"
    assert client.get(f"{API}/account").status_code == 200
    assert client.get(f"{API}/about").json()["set_up_owed"] is False
    assert client.post(f"{API}/set-up", json={**body, "name": "again"}).status_code == 410


# The OpenID provider, a real one.


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running_provider("http://localhost") as running:
        yield running


@pytest.fixture
def oidc_site(issuer: str, sqlite_database: Database, settings: Settings, tmp_path: Path) -> Site:
    provider = provider_settings(issuer, tmp_path / "secret")
    return make_site(sqlite_database, settings.model_copy(update={"oidc": provider}))


def travel(client: TestClient, browser: httpx.Client, name: str, path: str = "/session/oidc", back: str = "/") -> str:
    """Go to the provider and back; return the page the browser ends at."""
    url = client.post(API + path, json={"back": back}).json()["url"]
    answer = client.get(f"{API}/session/oidc/back", params=visit(browser, url, name), follow_redirects=False)
    assert answer.status_code == 303
    return answer.headers["location"]


def test_sign_in_at_the_provider_and_out_again(oidc_site: Site, issuer: str) -> None:
    client = at_localhost(oidc_site)
    assert client.get(f"{API}/about").json()["provider"] == "the test hospital"
    with httpx.Client() as browser:
        assert travel(client, browser, "olga", back="/readers") == "/readers"
    session = client.get(f"{API}/session").json()
    assert (session["account"]["name"], session["account"]["role"]) == ("olga", "radiologist")
    assert client.get(f"{API}/account").json()["has_password"] is False
    client.headers["X-CSRF-Token"] = session["csrf"]
    for path in ("/account/app", "/account/passkeys/question"):
        assert client.post(API + path).status_code == 409
    left = client.delete(f"{API}/session").json()["continue_at"]
    assert left.startswith(f"{issuer}/session/end?")
    assert client.get(f"{API}/session").json() == {"account": None}


def test_refusals_come_back_as_a_code(oidc_site: Site) -> None:
    for name, problem in (("nora", "oidc-no-role"), ("nobody", "oidc-failed")):
        client = at_localhost(oidc_site)
        with httpx.Client() as browser:
            assert travel(client, browser, name) == f"/?problem={problem}"
        assert client.get(f"{API}/session").json() == {"account": None}


def test_only_the_browser_that_set_out_arrives(oidc_site: Site) -> None:
    client, other = at_localhost(oidc_site), at_localhost(oidc_site)
    left = client.post(f"{API}/session/oidc", json={})
    cookie = left.headers["set-cookie"].lower()
    assert "samesite=lax" in cookie
    assert "httponly" in cookie
    assert f"path={API}/session/oidc/back" in cookie
    other.post(f"{API}/session/oidc", json={})
    with httpx.Client() as browser:
        answer = visit(browser, left.json()["url"], "olga")

    def arrive(at: TestClient) -> str:
        went = at.get(f"{API}/session/oidc/back", params=answer, follow_redirects=False)
        return went.headers["location"]

    assert arrive(other) == "/?problem=oidc-failed"
    assert arrive(at_localhost(oidc_site)) == "/?problem=oidc-failed"
    assert arrive(client) == "/"
    assert arrive(client) == "/?problem=oidc-failed"


def test_proof_at_the_provider(oidc_site: Site) -> None:
    client = at_localhost(oidc_site)
    with httpx.Client() as browser, httpx.Client() as anothers:
        travel(client, browser, "olga")
        client.headers["X-CSRF-Token"] = client.get(f"{API}/session").json()["csrf"]
        long_ago(oidc_site, timedelta(hours=5))
        at = travel(client, anothers, "adam", "/session/proof/oidc", "/study/1")
        assert at == "/study/1?problem=oidc-failed"
        assert proved_at(oidc_site) < utc_now() - timedelta(hours=4)
        assert travel(client, browser, "olga", "/session/proof/oidc", "/study/1") == "/study/1"
        assert proved_at(oidc_site) > utc_now() - timedelta(minutes=1)
    assert client.get(f"{API}/session").json()["account"]["name"] == "olga"


def proved_at(site: Site) -> datetime:
    with site.database.read() as session:
        return session.scalars(select(WebSession.proved_at)).one()


def test_a_page_to_come_back_to_is_ours(oidc_site: Site) -> None:
    client = at_localhost(oidc_site)
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "/a?b=c", "x"):
        assert client.post(f"{API}/session/oidc", json={"back": back}).status_code == 422, back


def test_without_a_provider_it_is_said(site: Site) -> None:
    answer = site.client().post(f"{API}/session/oidc", json={})
    assert (answer.status_code, answer.json()["error"]) == (404, "not-found")
    went = site.client().get(f"{API}/session/oidc/back", follow_redirects=False)
    assert went.headers["location"] == "/?problem=oidc-failed"
