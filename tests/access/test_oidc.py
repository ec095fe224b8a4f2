"""OpenID Connect against a real provider on loopback, and against one that lies in every way that matters."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from oidc_support import CLIENT, provider_settings, running_provider, visit
from sqlalchemy import select

from readingroom.access import accounts, oidc, oidc_provider, sessions
from readingroom.access.accounts import Identity
from readingroom.access.oidc import OidcRefused, Person
from readingroom.access.oidc_provider import Provider
from readingroom.access.projects import memberships
from readingroom.access.tables import Account
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict
from readingroom.core.permissions import Role

BACK = "http://localhost:1/api/v1/session/oidc/back"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running_provider("http://localhost:1") as running:
        yield running


@pytest.fixture
def provider(issuer: str, tmp_path: Path) -> Provider:
    return Provider(provider_settings(issuer, tmp_path / "secret"))


def person(name: str, role: Role | None = Role.RADIOLOGIST, subject: str = "", **changes: Any) -> Person:
    made = {"display_name": name.title(), "proved_at": 0.0, **changes}
    return Person(Identity("https://idp.example", subject or name), name, role=role, **made)


def test_the_way_there_and_back(provider: Provider, issuer: str) -> None:
    trip = provider.begin(BACK)
    asked = dict(parse_qsl(urlsplit(trip.url).query))
    assert asked["code_challenge_method"] == "S256"
    assert trip.kept["verifier"] not in trip.url
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    with httpx.Client() as browser:
        found = provider.finish(trip.kept, BACK, visit(browser, trip.url, "olga"))
    assert found.identity == Identity(issuer, "olga")
    assert (found.name, found.display_name, found.role) == ("olga", "Olga Example", Role.RADIOLOGIST)


def test_roles_come_from_the_claim(provider: Provider) -> None:
    for name, role in (("adam", Role.ADMINISTRATOR), ("nora", None)):
        trip = provider.begin(BACK)
        with httpx.Client() as browser:
            assert provider.finish(trip.kept, BACK, visit(browser, trip.url, name)).role == role


def test_a_code_is_worth_nothing_without_its_trip(provider: Provider) -> None:
    for spoil in ("state", "nonce", "verifier"):
        trip = provider.begin(BACK)
        with httpx.Client() as browser:
            answer = visit(browser, trip.url, "olga")
        with pytest.raises(OidcRefused):
            provider.finish({**trip.kept, spoil: "x" * 43}, BACK, answer)
    trip = provider.begin(BACK)
    with httpx.Client() as browser:
        answer = visit(browser, trip.url, "olga")
    provider.finish(trip.kept, BACK, answer)
    with pytest.raises(OidcRefused):
        provider.finish(trip.kept, BACK, answer)  # the provider takes a code once


def test_refused_at_the_provider(provider: Provider) -> None:
    trip = provider.begin(BACK)
    with httpx.Client() as browser:
        answer = visit(browser, trip.url, "olga", "wrong")
    assert answer["error"] == "access_denied"
    with pytest.raises(OidcRefused):
        provider.finish(trip.kept, BACK, answer)
    with pytest.raises(OidcRefused):
        provider.finish(trip.kept, BACK, {**answer, "code": "x", "iss": "https://evil.example"})


def test_a_wrong_secret_and_no_provider(issuer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = provider_settings(issuer, tmp_path / "secret")
    monkeypatch.setenv(oidc_provider.SECRET_VARIABLE, "wrong")
    wrong = Provider(settings)
    trip = wrong.begin(BACK)
    with httpx.Client() as browser, pytest.raises(OidcRefused) as refused:
        wrong.finish(trip.kept, BACK, visit(browser, trip.url, "olga"))
    assert refused.value.code == "oidc-failed"
    monkeypatch.delenv(oidc_provider.SECRET_VARIABLE)
    with pytest.raises(OidcRefused) as refused:
        Provider(settings.model_copy(update={"issuer": "http://127.0.0.1:9"})).begin(BACK)
    assert refused.value.code == "oidc-unavailable"
    with pytest.raises(OidcRefused):
        Provider(settings.model_copy(update={"issuer": "http://idp.example"})).begin(BACK)
    with pytest.raises(BadInput):
        Provider(settings.model_copy(update={"client_secret_file": tmp_path / "none"}))


def test_a_fresh_trip_asks_though_the_provider_knows(provider: Provider) -> None:
    with httpx.Client() as browser:
        visit(browser, provider.begin(BACK).url, "olga")
        assert browser.get(provider.begin(BACK).url).headers["location"].startswith("/auth/") is False
        begun = utc_now().timestamp()
        trip = provider.begin(BACK, fresh=True)
        assert "/interaction/" in browser.get(trip.url).headers["location"]
        found = provider.finish(trip.kept, BACK, visit(browser, trip.url, "olga"))
    assert found.proved_at >= begun - 2


def test_sign_out_goes_there_too(provider: Provider, issuer: str) -> None:
    url = provider.sign_out_url("http://localhost:1/")
    assert url.startswith(f"{issuer}/session/end?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": CLIENT, "post_logout_redirect_uri": "http://localhost:1/",
    }  # fmt: skip


# A provider that lies. Its answers are made here, so that each lie is one change.

KEY, OTHER = RSAKey.generate_key(2048, {"kid": "1"}), RSAKey.generate_key(2048, {"kid": "1"})
ISSUER = "https://idp.example"


@pytest.fixture
def liar(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    """``liar(claims={...})`` -> what is made of an ID token with those changes; ``key``, ``alg``, ``userinfo`` too."""

    def finish(
        claims: dict[str, Any] | None = None, *, key: Any = KEY, alg: str = "RS256", userinfo: Any = None, **answer: str
    ) -> Person:
        now = int(utc_now().timestamp())
        told = {
            "iss": ISSUER, "aud": CLIENT, "sub": "s1", "nonce": "n", "iat": now, "exp": now + 300,
            "preferred_username": "olga", "name": "Olga", "groups": ["radiology-staff"], **(claims or {}),
        }  # fmt: skip
        told = {name: value for name, value in told.items() if value is not None}
        token = jwt.encode({"alg": alg, "kid": "1"}, told, key, algorithms=[alg, "none"])

        def ask(method: str, url: str, **_: Any) -> dict[str, Any]:
            if url.endswith("/.well-known/openid-configuration"):
                names = ("authorization", "token", "userinfo")
                return {
                    "issuer": ISSUER,
                    "jwks_uri": f"{ISSUER}/keys",
                    **{f"{n}_endpoint": f"{ISSUER}/{n}" for n in names},
                }
            if url.endswith("/keys"):
                return {"keys": [KEY.as_dict(private=False)]}
            return userinfo if url.endswith("/userinfo") else {"id_token": token, "access_token": "a"}

        monkeypatch.setattr(oidc_provider, "_ask", ask)
        lying = Provider(provider.settings.model_copy(update={"issuer": ISSUER}))
        kept = {"state": "s", "nonce": "n", "verifier": "v"}
        return lying.finish(kept, BACK, {"state": "s", "code": "c", **answer})

    return finish


def test_the_liars_truth_is_accepted(liar: Callable[..., Person]) -> None:
    found = liar()
    assert (found.identity, found.name, found.role) == (Identity(ISSUER, "s1"), "olga", Role.RADIOLOGIST)
    assert liar({"groups": "radiology-staff"}).role == Role.RADIOLOGIST
    assert liar({"groups": ["radiology-staff", "radiology-it"]}).role == Role.ADMINISTRATOR, "the first line that fits"


@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://evil.example"}, {"iss": None}, {"aud": "another"}, {"aud": None}, {"aud": [CLIENT, "another"]},
     {"aud": "another", "azp": CLIENT}, {"aud": [CLIENT, "another"], "azp": "another"},
     {"sub": None}, {"sub": ""}, {"sub": 5}, {"nonce": "other"},
     {"nonce": None}, {"exp": 1}, {"exp": None}, {"iat": None}, {"iat": 2**40}, {"nbf": 2**40}, {"at_hash": "wrong"}],
    ids=str,
)  # fmt: skip
def test_every_lie_is_refused(liar: Callable[..., Person], claims: dict[str, Any]) -> None:
    with pytest.raises(OidcRefused):
        liar(claims)


def test_signatures_of_others_and_none_are_refused(liar: Callable[..., Person]) -> None:
    with pytest.raises(OidcRefused):
        liar(key=OTHER)
    with pytest.raises(OidcRefused):
        liar(alg="none", key=None)
    from joserfc.jwk import OctKey

    # The public key taken for a shared secret.
    with pytest.raises(OidcRefused):
        liar(alg="HS256", key=OctKey.import_key(KEY.as_pem(private=False).replace(b"-----", b"")))


def test_userinfo_is_of_the_same_person_and_never_outweighs_the_token(liar: Callable[..., Person]) -> None:
    known = {"sub": "s1", "groups": ["radiology-it"], "name": "Olga", "preferred_username": "olga"}
    assert liar({"groups": None}, userinfo=known).role == Role.ADMINISTRATOR
    assert liar({"name": None}, userinfo=known).role == Role.RADIOLOGIST
    with pytest.raises(OidcRefused):
        liar({"groups": None}, userinfo={**known, "sub": "s2"})


def test_a_name_that_is_none_gets_a_made_one(liar: Callable[..., Person]) -> None:
    found = liar({"preferred_username": "Doe^John  "})
    assert found.name.startswith("oidc-")
    assert accounts.is_name(found.name)
    assert liar({"preferred_username": None, "groups": None}, userinfo={"sub": "s1"}).role is None


# The account.


def actions(database: Database) -> list[tuple[str, str, str, str]]:
    with database.read() as session:
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
        return [(e.action, e.outcome, e.actor, e.detail.get("why", "")) for e in events]


def member_as(database: Database, account: Account) -> dict[str, Role]:
    with database.read() as session:
        return {project.name: role for project, role in memberships(session, [account.id])[account.id]}


def test_the_first_sign_in_makes_the_account_and_later_ones_keep_it(database: Database) -> None:
    first = oidc.enter(database, person("olga"))
    assert (first.name, first.role, first.password_hash) == ("olga", "radiologist", "")
    with pytest.raises(accounts.SignInRefused):
        accounts.check_password(database, "olga", "")
    assert member_as(database, first) == {"care": Role.RADIOLOGIST}
    again = oidc.enter(database, person("renamed", Role.ADMINISTRATOR, subject="olga", display_name="Olga B."))
    assert (again.id, again.name, again.role, again.display_name) == (first.id, "olga", "administrator", "Olga B.")
    assert ("role-changed", "success", "oidc", "") in actions(database)
    assert member_as(database, first) == {}, "administrators are members of nothing"
    for role in (Role.RESIDENT, Role.RADIOLOGIST):
        oidc.enter(database, person("olga", role))
        assert member_as(database, first) == {"care": role}
    with database.write() as session, pytest.raises(Conflict):
        accounts.change_password(session, "olga", "correct horse battery", actor="root")


def test_who_has_no_role_is_refused_and_out(sqlite_database: Database) -> None:
    database = sqlite_database
    with pytest.raises(OidcRefused) as refused:
        oidc.enter(database, person("nora", None))
    assert refused.value.code == "oidc-no-role"
    with database.read() as session:
        assert session.scalars(select(Account)).all() == []
    account = oidc.enter(database, person("olga"))
    with database.write() as session:
        token = sessions.open_session(session, account.id, strong=True).token
    with pytest.raises(OidcRefused):
        oidc.enter(database, person("olga", None))
    with database.read() as session:
        assert sessions.find_session(session, token) is None
    events = actions(database)
    assert ("sign-in-oidc", "failure", "unknown", "oidc-no-role") in events
    assert ("sign-in-oidc", "failure", "olga", "oidc-no-role") in events
    assert not any("nora" in str(event) for event in events)


def test_a_local_account_is_never_taken_over(sqlite_database: Database) -> None:
    database = sqlite_database
    with database.write() as session:
        accounts.create_account(session, "ann", "correct horse battery", Role.ADMINISTRATOR)
    with pytest.raises(OidcRefused) as refused:
        oidc.enter(database, person("ann"))
    assert refused.value.code == "oidc-name-taken"
    oidc.enter(database, person("olga"))
    with pytest.raises(OidcRefused):
        oidc.enter(database, person("olga", subject="somebody else"))
    with database.write() as session:
        accounts.disable_account(session, "olga", actor="root")
    with pytest.raises(OidcRefused) as refused:
        oidc.enter(database, person("olga"))
    assert refused.value.code == "oidc-disabled"


def test_proof_is_by_the_same_person_and_new(sqlite_database: Database) -> None:
    database = sqlite_database
    account = oidc.enter(database, person("olga"))
    begun = 1_000_000.0
    oidc.check_proof(database, person("olga", proved_at=begun + 5), account, begun)
    for other in (person("olga", proved_at=begun - 3600), person("olga"), person("adam", proved_at=begun + 5)):
        with pytest.raises(OidcRefused):
            oidc.check_proof(database, other, account, begun)
    outcomes = [outcome for action, outcome, *_ in actions(database) if action == "sign-in-proof"]
    assert outcomes == ["success", "failure", "failure", "failure"]
