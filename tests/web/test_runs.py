"""The routes of the training runs: who sees them, and what no answer holds."""

import json
from pathlib import Path

import pytest
from learning_support import recipe
from web_support import Site

from readingroom.core.permissions import Role

HASH = "0123456789abcdef" * 4


def write_run(home: Path, name: str = "first") -> Path:
    """A run that trains, as the engine writes it."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    facts = {
        "reader": "toy", "reader_version": "1.0.0", "recipe": recipe().model_dump(mode="json"), "recipe_sha256": HASH,
        "data": "cubes", "data_sha256": HASH, "examples": 160, "groups": 40, "seed": 7, "threads": 1, "device": "cpu",
        "machine": "Linux x86_64, 2 CPUs", "versions": {"python": "3.11.7"}, "commit": "", "state": "training",
        "started_at": "2026-11-30T12:00:00+00:00",
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(facts))
    line = {"fold": 0, "step": 20, "of": 80, "loss": 0.5, "parts": {"upper": 0.5}, "seconds": 30.0}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.RESEARCHER])
def test_list_and_one(site: Site, role: Role) -> None:
    client = site.signed_in(role)
    assert client.get("/api/v1/runs").json() == {"total": 0, "items": []}
    write_run(site.settings.home)
    (one,) = client.get("/api/v1/runs").json()["items"]
    assert (one["state"], one["progress"], one["left_seconds"]) == ("training", 0.125, 270.0)
    detail = client.get(f"/api/v1/runs/{one['id']}")
    assert detail.json()["curves"][0] == {"fold": 0, "name": "loss", "steps": [20.0], "values": [0.5]}
    assert str(site.settings.home) not in detail.text


def test_others_do_not_see_them_and_names_lead_nowhere(site: Site) -> None:
    write_run(site.settings.home)
    for role in set(Role) - {Role.ADMINISTRATOR, Role.RESEARCHER}:
        assert site.signed_in(role).get("/api/v1/runs").status_code == 403, role
    client = site.signed_in(Role.RESEARCHER)
    for wanted in ("first", "..", "%2e%2e%2ffirst", "0" * 16):
        assert client.get(f"/api/v1/runs/{wanted}").status_code == 404, wanted


def test_a_broken_run_is_listed_beside_the_others(site: Site) -> None:
    write_run(site.settings.home)
    (write_run(site.settings.home, "broken") / "run.json").write_text("{")
    items = site.signed_in(Role.RESEARCHER).get("/api/v1/runs").json()["items"]
    told = {one["name"]: (one["state"], one["reason"]) for one in items}
    assert told == {"first": ("training", ""), "broken": ("unreadable", "run.json is not JSON.")}
