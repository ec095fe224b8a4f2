"""Announcing over the API how many images a study is to have."""

from io import BytesIO

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from support import ct_series
from web_support import Site

from readingroom.archive.revisions import due_studies
from readingroom.archive.tables import Study
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.permissions import Role


@pytest.fixture
def radiologist(site: Site) -> TestClient:
    return site.signed_in(Role.RADIOLOGIST)


@pytest.fixture
def study_id(site: Site) -> str:
    """A study of one image."""
    buffer = BytesIO()
    ct_series(1)[0].save_as(buffer, enforce_file_format=True)
    found: str = site.pages.state.archive.put_file(buffer.getvalue(), source="test").study_id
    return found


def test_what_is_expected_makes_the_study_ready(site: Site, radiologist: TestClient, study_id: str) -> None:
    path = f"/api/v1/studies/{study_id}/expected"

    def due() -> list[str]:
        with site.database.read() as session:
            return due_studies(session, utc_now(), 60)

    assert radiologist.post(path, json={"instances": 2}).status_code == 202
    assert due() == []
    assert radiologist.post(path, json={"instances": 1}).status_code == 202
    assert due() == [study_id]
    with site.database.read() as session:
        assert session.get_one(Study, study_id).announced_instances == 1
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "expected").order_by(AuditEvent.id))
        told = [(event.actor, event.study_id, event.detail) for event in events]
    assert told == [("radiologist", study_id, {"instances": number}) for number in (2, 1)]


@pytest.mark.parametrize("body", [{}, {"instances": 0}, {"instances": 1_000_001}, {"instances": "many"}, {"count": 3}])
def test_what_is_no_number_of_images_is_refused(
    radiologist: TestClient, study_id: str, body: dict[str, object]
) -> None:
    assert radiologist.post(f"/api/v1/studies/{study_id}/expected", json=body).status_code == 422


def test_no_such_study_and_nobody_signed_in(site: Site, radiologist: TestClient) -> None:
    body = {"instances": 3}
    assert radiologist.post("/api/v1/studies/nothing/expected", json=body).status_code == 404
    assert site.client().post("/api/v1/studies/nothing/expected", json=body).status_code == 401
