"""The API of the models page: states, who and why; changes by administrators only, with a reason and a fresh proof."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from model_support import identity, package
from sqlalchemy import update
from web_support import Site

from readingroom.access.tables import WebSession
from readingroom.core.clock import utc_now
from readingroom.core.permissions import FOR_TOKENS, Permission, Role
from readingroom.learning.models.adding import add_version
from readingroom.learning.models.package import read_package
from readingroom.learning.models.tables import ModelChange, ModelVersion, ShadowReading


@pytest.fixture
def administrator(site: Site) -> TestClient:
    return site.signed_in(Role.ADMINISTRATOR)


def add(site: Site, folder: Path, scale: float = 1.0, name: str = "lung-nodule") -> ModelVersion:
    draft = read_package(package(folder / str(scale), identity(scale), name=name), lambda *_: b"")
    with site.database.write() as session:
        return add_version(session, site.settings, draft, actor="command line", why="to see")


def change(client: TestClient, row: ModelVersion, action: str, why: str = "because"):  # type: ignore[no-untyped-def]
    return client.post(f"/api/v1/models/{row.id}/change", json={"action": action, "why": why})


def installed_in(page: dict[str, Any]) -> dict[str, Any]:
    """The lung reader as it came with the program."""
    (one,) = [reader for reader in page["installed"] if reader["reader"] == "lung-nodule"]
    return dict(one)


def version_shown(client: TestClient) -> str:
    (card,) = [card for card in client.get("/api/v1/readers").json() if card["name"] == "lung-nodule"]
    return str(card["version"])


def test_a_version_is_promoted_and_rolled_back_with_who_and_why(
    site: Site, administrator: TestClient, tmp_path: Path
) -> None:
    row = add(site, tmp_path)
    page = administrator.get("/api/v1/models").json()
    assert installed_in(page)["live"] is True
    (shown,) = page["items"]
    assert (shown["state"], shown["error"], shown["comparison"]) == ("shadow", "", None)
    promoted = change(administrator, row, "promote", "as good as the old one")
    assert promoted.status_code == 200, promoted.text
    page = administrator.get("/api/v1/models").json()
    assert installed_in(page)["live"] is False
    newest = page["items"][0]["changes"][0]
    assert (newest["state"], newest["actor"], newest["why"]) == ("live", "administrator", "as good as the old one")
    # The page of the readers shows the card of the version that reads.
    assert version_shown(administrator) == row.version
    assert change(administrator, row, "promote").status_code == 409
    assert change(administrator, row, "rollback").status_code == 200
    assert installed_in(administrator.get("/api/v1/models").json())["live"] is True
    assert version_shown(administrator) == installed_in(page)["version"]


def test_what_is_refused(site: Site, administrator: TestClient, tmp_path: Path) -> None:
    row = add(site, tmp_path)
    assert change(administrator, row, "promote", "  ").status_code == 400
    assert change(administrator, row, "explode").status_code == 422
    assert administrator.post("/api/v1/models/nothing/change", json={"action": "shadow", "why": "x"}).status_code == 404
    for role in (Role.RADIOLOGIST, Role.RESIDENT, Role.TECHNOLOGIST, Role.RESEARCHER, Role.SERVICE):
        client = site.signed_in(role)
        assert client.get("/api/v1/models").status_code == 403
        assert change(client, row, "promote").status_code == 403
    assert Permission.MODEL_MANAGE not in FOR_TOKENS
    # An unattended screen puts nothing to work.
    with site.database.write() as session:
        session.execute(update(WebSession).values(proved_at=utc_now() - timedelta(hours=2)))
    answer = change(administrator, row, "promote")
    assert (answer.status_code, answer.json()["error"]) == (403, "proof-needed")
    assert administrator.get("/api/v1/models").json()["items"][0]["state"] == "shadow"


def test_shadow_against_live_is_numbers_only(
    site: Site, administrator: TestClient, study_id: str, tmp_path: Path
) -> None:
    row = add(site, tmp_path)
    pair = {
        "live_version": "1.0.0", "live_state": "found", "live_findings": 2, "shadow_findings": 1,
        "scores": [[0.8, 0.7]], "live_seconds": 10.0, "shadow_seconds": 4.0,
    }  # fmt: skip
    with site.database.write() as session:
        session.add(
            ShadowReading(
                model_id=row.id, study_id=study_id, revision=1, state="found", compared=pair, body={"secret": "word"}
            )
        )
    answer = administrator.get("/api/v1/models")
    compared = answer.json()["items"][0]["comparison"]
    assert (compared["studies"], compared["both_looked"], compared["same_findings"]) == (1, 1, 1)
    assert compared["live_found_again"]["value"] == 0.5
    assert compared["kappa"] is None
    assert study_id not in answer.text
    assert "secret" not in answer.text


def test_a_version_that_is_not_as_it_was_signed_says_so(site: Site, administrator: TestClient, tmp_path: Path) -> None:
    row = add(site, tmp_path)
    forged = ModelVersion(
        id="f" * 32, reader="forged", version="1", statement=row.statement, signature=row.signature[:-4] + "AAAA"
    )
    with site.database.write() as session:
        session.add(forged)
        session.flush()
        session.add(ModelChange(model_id=forged.id, action="add", state="shadow", actor="nobody", why="x"))
    shown = {one["reader"]: one for one in administrator.get("/api/v1/models").json()["items"]}
    assert "signature does not fit" in shown["forged"]["error"]
    assert (shown["forged"]["card"], shown["lung-nodule"]["error"]) == (None, "")
    answer = change(administrator, forged, "promote")
    assert answer.status_code not in (200, 500), answer.text
