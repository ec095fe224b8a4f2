"""The heat map of a finding over HTTP: who sees it, what it says, and that a broken one is told and not drawn."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from web_support import Site

from readingroom.archive.store import LocalStore
from readingroom.core.permissions import Role
from readingroom.findings.heat_map import heat_map_to_bytes
from readingroom.readers.tables import ReadingRow
from readingroom.review import heat_maps

Json = dict[str, Any]


@pytest.fixture
def radiologist(site: Site) -> TestClient:
    return site.signed_in(Role.RADIOLOGIST)


def shown(client: TestClient, study_id: str) -> Json:
    finding: Json = client.get(f"/api/v1/studies/{study_id}").json()["findings"][0]
    return finding


def keep(site: Site, name: str, data: bytes | None) -> None:
    """Put other bytes in the place of one of the reading's arrays, or take it away."""
    with site.database.write() as session:
        row = session.get_one(ReadingRow, "r1")
        others = {key: value for key, value in row.arrays.items() if key != name}
        row.arrays = others if data is None else others | {name: LocalStore(site.settings.store_folder).put(data)}


def test_it_has_the_box_and_images_of_its_segment(radiologist: TestClient, study_id: str) -> None:
    finding = shown(radiologist, study_id)
    heat, segment = (radiologist.get(finding[key]).json() for key in ("heat_map_url", "segment_url"))
    for key in ("series_instance_uid", "offset", "shape", "sop_instance_uids"):
        assert heat[key] == segment[key]
    levels = np.frombuffer(base64.b64decode(heat["levels"]), np.uint8)
    assert levels.tolist() == [round(255 * n / 15) for n in range(16)]


def test_a_finding_moved_away_from_its_segment_shows_none(radiologist: TestClient, study_id: str) -> None:
    finding = shown(radiologist, study_id)["finding"]
    place = finding["place"] | {"position_lps_mm": [-90.0, -100.0, 3.0]}
    moved = finding | {"place": place, "segment": ""}
    body = {"kind": "edit", "reading_id": "r1", "finding_id": "f1", "revision": 1, "after": moved}
    answer = radiologist.post(f"/api/v1/studies/{study_id}/verdicts", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["findings"][0]["heat_map_url"] is None


def test_who_may_not_see_the_study_does_not_see_it(site: Site, radiologist: TestClient, study_id: str) -> None:
    address = shown(radiologist, study_id)["heat_map_url"]
    assert site.client().get(address).status_code == 401
    resident, administrator = site.signed_in(Role.RESIDENT), site.signed_in(Role.ADMINISTRATOR)
    assert resident.get(address).status_code == 200
    assert administrator.get(address).status_code in (403, 404)
    visibility = f"/api/v1/studies/{study_id}/visibility"
    assert radiologist.put(visibility, json={"restricted": True}).status_code == 204
    assert radiologist.get(address).status_code == 200
    assert resident.get(address).status_code == 404


@pytest.mark.parametrize(
    ("name", "data", "status", "why"),
    [
        ("h1", None, 404, "not kept"),
        ("s1", None, 404, "not kept"),
        ("h1", heat_map_to_bytes(np.zeros((4, 4), np.float32)), 400, "shape of its segment's box"),
        ("h1", heat_map_to_bytes(np.full((1, 4, 4), 1.5, np.float32)), 400, "within 0 and 1"),
        ("h1", b"not an array", 400, "Not a heat map"),
        ("s1", heat_map_to_bytes(np.zeros((1, 4, 4), np.float32)), 400, "Not a segment mask"),
    ],
)
def test_a_broken_one_is_told(
    site: Site, radiologist: TestClient, study_id: str, name: str, data: bytes | None, status: int, why: str
) -> None:
    address = shown(radiologist, study_id)["heat_map_url"]
    keep(site, name, data)
    answer = radiologist.get(address)
    assert answer.status_code == status
    assert why in answer.json()["message"]


def test_several_arrays_in_one_file_are_none(site: Site, radiologist: TestClient, study_id: str) -> None:
    address, buffer = shown(radiologist, study_id)["heat_map_url"], io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    keep(site, "h1", buffer.getvalue())
    assert "several arrays" in radiologist.get(address).json()["message"]


def test_one_too_large_for_a_browser_is_refused(
    radiologist: TestClient, study_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = shown(radiologist, study_id)["heat_map_url"]
    monkeypatch.setattr(heat_maps, "MOST_VOXELS", 15)
    monkeypatch.setattr(heat_maps, "_HEADER", 0)
    assert radiologist.get(address).status_code == 422


def test_a_heat_map_is_no_segment(radiologist: TestClient, study_id: str) -> None:
    assert radiologist.get(f"/api/v1/studies/{study_id}/segments/r1/h1").status_code == 400
