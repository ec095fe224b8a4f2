"""Norms by API: z and probability of what is sent, curves of a region, and what is refused."""

import pytest
from freesurfer_support import stats_files, typical
from sqlalchemy import func, select
from web_support import Site

from readingroom.core.audit import AuditEvent
from readingroom.core.permissions import Role


def question(**changes: object) -> dict[str, object]:
    files = stats_files(typical(Left_Hippocampus=-3.0))
    return {"tables": list(files.values()), "age_years": 75, "sex": "F"} | changes


def test_z_and_probability_of_what_is_sent_and_nothing_is_kept(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    with site.database.read() as session:
        before = session.scalar(select(func.count()).select_from(AuditEvent))
    answer = client.post("/api/v1/norms", json=question())
    assert answer.status_code == 200, answer.text
    told = answer.json()
    z = {region["name"]: region for region in told["regions"]}
    assert z["Left-Hippocampus"]["z"] == pytest.approx(-3, abs=0.02)
    assert 0 < told["probability"] < 1
    assert {norm["kind"]: norm["controls"] for norm in told["norms"]} == {
        "volume": 81, "thickness": 406, "asymmetry": 81,
    }  # fmt: skip
    assert "PLANTED" not in answer.text
    fewer = client.post("/api/v1/norms", json=question(prevalence=0.05)).json()["probability"]
    assert fewer < told["probability"]
    with site.database.read() as session:
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == before


def test_curves_of_a_region(site: Site) -> None:
    client = site.signed_in(Role.RESEARCHER)
    curve = client.get("/api/v1/norms/curves/Left-Hippocampus?sex=F&head_ml=1500").json()
    assert len(curve["ages"]) == len(curve["percentiles"]["50"])
    assert curve["unit"] == "mm3"
    thick = client.get("/api/v1/norms/curves/lh_entorhinal_thickness?sex=M").json()
    assert thick["source"] == "IXI"
    assert client.get("/api/v1/norms/curves/Left-Hippocampus?sex=F").status_code == 400
    assert client.get("/api/v1/norms/curves/nowhere?sex=F").status_code == 400


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"tables": ["hello"]}, 400), ({"tables": []}, 422), ({"age_years": -1}, 422), ({"sex": "X"}, 422),
     ({"prevalence": 1}, 422), ({"tables": ["x" * (300 << 10)]}, 422)],
)  # fmt: skip
def test_what_cannot_be_is_refused(site: Site, changes: dict[str, object], status: int) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    answer = client.post("/api/v1/norms", json=question(**changes))
    assert answer.status_code == status
    assert "hello" not in answer.text
