"""Accounts, projects and passwords given by an administrator."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from web_support import PASSWORD, Site

from readingroom.access.accounts import find_account
from readingroom.core.audit import AuditEvent
from readingroom.core.permissions import Permission, Role


@pytest.fixture
def administrator(site: Site) -> TestClient:
    return site.signed_in(Role.ADMINISTRATOR)


def account(client: TestClient, name: str) -> dict:
    return next(item for item in client.get("/api/v1/accounts").json()["items"] if item["name"] == name)


def sign_in(site: Site, name: str, password: str) -> tuple[TestClient, dict]:
    client = site.client()
    answer = client.post("/api/v1/session", json={"name": name, "password": password})
    client.headers["X-CSRF-Token"] = answer.json().get("csrf", "")
    return client, answer.json()


def change(client: TestClient, name: str, **changes: object):  # type: ignore[no-untyped-def]
    found = account(client, name)
    body = {key: found[key] for key in ("display_name", "role", "disabled", "projects")} | changes
    return client.put(f"/api/v1/accounts/{found['id']}", json=body)


def test_given_password_opens_nothing_but_choosing_another(site: Site, administrator: TestClient) -> None:
    body = {"name": "dora", "role": "radiologist", "display_name": "Dr. Dora", "projects": {"care": "radiologist"}}
    given = administrator.post("/api/v1/accounts", json=body)
    assert given.status_code == 201, given.text
    assert given.json()["account"]["projects"] == {"care": "radiologist"}
    password = given.json()["password"]
    assert password not in administrator.get("/api/v1/accounts").text
    dora, session = sign_in(site, "dora", password)
    assert session["account"]["password_owed"] is True
    assert session["account"]["permissions"] == ["public", "session"]
    for path in ("/api/v1/worklist", "/dicomweb/studies", "/api/v1/readers"):
        assert dora.get(path).status_code == 403, path
    token = {"name": "x", "scopes": ["study:query"], "days": 1}
    assert dora.post("/api/v1/account/tokens", json=token).status_code == 403
    chosen = {"current": password, "new": "a quite different one"}
    assert dora.put("/api/v1/account/password", json=chosen).status_code == 204
    assert dora.get("/api/v1/worklist").status_code == 200
    assert account(administrator, "dora")["password_owed"] is False


def test_reset_ends_everything(site: Site, administrator: TestClient) -> None:
    radiologist = site.signed_in(Role.RADIOLOGIST)
    token = site.token(Role.RADIOLOGIST, [Permission.STUDY_QUERY])
    found = account(administrator, "radiologist")
    given = administrator.post(f"/api/v1/accounts/{found['id']}/reset")
    assert given.status_code == 200, given.text
    assert radiologist.get("/api/v1/worklist").status_code == 401
    program = site.client()
    assert program.get("/api/v1/worklist", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert sign_in(site, "radiologist", PASSWORD)[1]["error"] == "sign-in-refused"
    _, session = sign_in(site, "radiologist", given.json()["password"])
    assert session["account"]["password_owed"] is True


def test_role_and_membership_change_at_once(site: Site, administrator: TestClient) -> None:
    resident = site.signed_in(Role.RESIDENT)
    changed = change(administrator, "resident", role="technologist", projects={"care": "technologist"})
    assert changed.status_code == 200, changed.text
    assert resident.get("/api/v1/session").json()["account"]["role"] == "technologist"
    assert resident.post("/api/v1/studies/any/verdicts", json={}).status_code == 403
    with site.database.read() as session:
        events = session.scalars(select(AuditEvent.action).where(AuditEvent.actor == "administrator")).all()
    assert {"account-changed", "memberships-changed"} <= set(events)


def test_disabled_is_out_at_once_and_may_come_back(site: Site, administrator: TestClient) -> None:
    radiologist = site.signed_in(Role.RADIOLOGIST)
    assert change(administrator, "radiologist", disabled=True).status_code == 200
    assert radiologist.get("/api/v1/worklist").status_code == 401
    assert change(administrator, "radiologist", disabled=False).status_code == 200
    assert site.signed_in(Role.RADIOLOGIST).get("/api/v1/worklist").status_code == 200


def test_somebody_is_left_to_administer(administrator: TestClient) -> None:
    for changes in ({"disabled": True}, {"role": "radiologist"}):
        assert change(administrator, "administrator", **changes).status_code == 409
    second = {"name": "second", "role": "administrator"}
    assert administrator.post("/api/v1/accounts", json=second).status_code == 201
    assert change(administrator, "administrator", disabled=True).status_code == 200


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("researcher", {"projects": {"care": "researcher"}}),
        ("radiologist", {"projects": {"nowhere": "radiologist"}}),
        ("administrator", {"projects": {"care": "radiologist"}}),
        ("radiologist", {"role": "service"}),
        ("service", {"role": "radiologist"}),
        ("radiologist", {"role": "king"}),
    ],
)
def test_what_does_not_fit_changes_nothing(administrator: TestClient, name: str, changes: dict[str, object]) -> None:
    before = account(administrator, name)
    assert change(administrator, name, **changes).status_code in (400, 404, 422)
    assert account(administrator, name) == before


def test_tokens_for_machines_only(site: Site, administrator: TestClient) -> None:
    body = {"name": "prometheus", "scopes": ["system:read"], "days": 300}
    found = account(administrator, "service")
    made = administrator.post(f"/api/v1/accounts/{found['id']}/tokens", json=body)
    assert made.status_code == 201, made.text
    program = site.client()
    program.headers["Authorization"] = f"Bearer {made.json()['token']}"
    assert program.get("/metrics").status_code == 200
    listed = administrator.get(f"/api/v1/accounts/{found['id']}/tokens").json()
    assert [one["name"] for one in listed] == ["prometheus"]
    path = f"/api/v1/accounts/{found['id']}/tokens/{made.json()['id']}"
    assert administrator.delete(path).status_code == 204
    assert program.get("/metrics").status_code == 401
    # A person's token would be the administrator acting as them.
    other = account(administrator, "radiologist")
    refused = administrator.post(f"/api/v1/accounts/{other['id']}/tokens", json={**body, "scopes": ["study:query"]})
    assert refused.status_code == 400


def test_machines_do_not_sign_in_at_the_pages(site: Site) -> None:
    _, answer = sign_in(site, "service", PASSWORD)
    assert answer["error"] == "forbidden"


def test_projects(site: Site, administrator: TestClient) -> None:
    new = {"name": "course-1", "kind": "teaching", "title": "Course"}
    assert administrator.post("/api/v1/projects", json=new).status_code == 201
    assert administrator.post("/api/v1/projects", json=new).status_code == 409
    assert administrator.post("/api/v1/projects", json={**new, "name": "x", "kind": "private"}).status_code == 422
    shown = administrator.get("/api/v1/projects").json()
    assert [(p["name"], p["kind"], p["members"]) for p in shown["items"]] == [
        ("care", "care", 4), ("course-1", "teaching", 0), ("trial", "research", 1),
    ]  # fmt: skip
    assert "researcher" not in shown["kinds"]["care"]
    assert "administrator" not in shown["kinds"]["research"]


def test_nothing_of_this_is_for_others(site: Site) -> None:
    for role in (Role.RADIOLOGIST, Role.TECHNOLOGIST, Role.SERVICE):
        client = site.signed_in(role)
        for method, path in (
            ("GET", "/accounts"), ("POST", "/accounts"), ("PUT", "/accounts/1"), ("POST", "/accounts/1/reset"),
            ("GET", "/projects"), ("POST", "/projects"), ("GET", "/alerts"),
        ):  # fmt: skip
            assert client.request(method, f"/api/v1{path}", json={}).status_code == 403, (role, path)


def test_unknown_account(administrator: TestClient) -> None:
    assert administrator.post("/api/v1/accounts/999/reset").status_code == 404
    with pytest.raises(StopIteration):
        account(administrator, "nobody")


def test_names_in_use_stay(site: Site, administrator: TestClient) -> None:
    again = {"name": "radiologist", "role": "radiologist"}
    assert administrator.post("/api/v1/accounts", json=again).status_code == 409
    with site.database.read() as session:
        assert find_account(session, "radiologist").password_given is False
