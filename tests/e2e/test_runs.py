"""Training runs in Chromium: none yet, one that trains and grows while it is looked at, and one that cannot be read."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_house import PASSWORD, shoot, sign_in, web_running
from learning_support import recipe
from playwright.sync_api import Page, expect

from readingroom.access.accounts import create_account
from readingroom.core.config import Settings
from readingroom.core.permissions import Role

pytestmark = [pytest.mark.tools, pytest.mark.slow]

HASH = "0123456789abcdef" * 4
STEPS = 480


@pytest.fixture
def pages(settings: Settings) -> Iterator[str]:
    with web_running(settings) as database:
        with database.write() as session:
            create_account(session, "rhea", PASSWORD, Role.RESEARCHER, display_name="Rhea Researcher")
        yield f"http://127.0.0.1:{settings.web_port}"


def write_run(home: Path, name: str) -> Path:
    """A run of five folds at its beginning, its settings searched, as the engine writes it."""
    folder = home / "runs" / name
    (folder / "search").mkdir(parents=True)
    whole = recipe(folds=5, draws=6144, epochs=5, batch=64, minutes=170, select="auc").model_dump(mode="json")
    facts = {
        "reader": "toy", "reader_version": "2.0.0", "recipe": whole, "recipe_sha256": HASH, "data": "cubes",
        "data_sha256": HASH[::-1], "examples": 6440, "groups": 54, "seed": 7, "threads": 2, "device": "cpu",
        "machine": "Linux x86_64, 2 CPUs", "versions": {"python": "3.11.7", "torch": "2.13.0"}, "commit": "4a50928+",
        "state": "training", "started_at": "2026-11-30T12:00:00+00:00",
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(facts))
    trials = [
        {"trial": 0, "settings": {}, "epochs": 2, "state": "done", "score": 0.902, "seconds": 71.0},
        {"trial": 1, "settings": {"rate": 0.02, "width": 4}, "epochs": 2, "state": "done", "score": 0.931,
         "seconds": 70.2},
        {"trial": 2, "settings": {"rate": 0.09, "width": 2}, "epochs": 2, "state": "failed", "score": None,
         "reason": "The loss is no number any more at step 40.", "seconds": 9.1},
    ]  # fmt: skip
    (folder / "search" / "trials.jsonl").write_text("".join(json.dumps(one) + "\n" for one in trials))
    return folder


def tell(folder: Path, fold: int, done: int) -> None:
    """Write the log's lines of ``done`` steps of a fold, and how it did where that is all."""
    with (folder / "log.jsonl").open("a") as file:
        for step in range(20, done + 1, 20):
            part = 0.5 * math.exp(-step / 150) + 0.05 * fold + 0.02 * math.sin(step)
            line = {"fold": fold, "step": step, "of": STEPS, "loss": round(2 * part + 0.3, 5)}
            line |= {"parts": {"nodule": round(part, 5), "mask": round(part + 0.3, 5)}}
            file.write(json.dumps(line | {"seconds": 800.0 * fold + 1.6 * step}) + "\n")
        if done == STEPS:
            judged = {"auc": 0.94 + 0.01 * fold, "dice": 0.71 - 0.01 * fold}
            file.write(
                json.dumps({"fold": fold, "validation": judged, "n": 1288, "seconds": 800.0 * (fold + 1)}) + "\n"
            )


def test_a_run_is_watched(pages: str, settings: Settings, tab: Page) -> None:
    tab.goto(pages)
    sign_in(tab, "rhea")
    tab.get_by_role("link", name="Runs", exact=True).click()
    expect(tab.get_by_test_id("runs-empty")).to_contain_text("readingroom train lung-nodule")
    shoot(tab, "runs-empty")

    folder = write_run(settings.home, "lung-2")
    tell(folder, 0, STEPS)
    tell(folder, 1, 240)
    broken = write_run(settings.home, "from elsewhere")
    (broken / "run.json").write_text('{"reader": ')
    expect(tab.get_by_test_id("run-row")).to_have_count(2)
    expect(tab.get_by_test_id("run-row").filter(has_text="from elsewhere")).to_contain_text("run.json is not JSON.")
    mine = tab.get_by_test_id("run-row").filter(has_text="lung-2")
    expect(mine.get_by_test_id("run-state")).to_have_attribute("data-state", "training")
    expect(mine).to_contain_text("30%")
    expect(mine).to_contain_text("left of 2 h 50")
    shoot(tab, "runs")

    # By keys alone from here.
    mine.get_by_role("link").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_test_id("run-head")).to_contain_text("fold 2 of 5, step 240 of 480")
    expect(tab.get_by_test_id("chart-line")).to_have_count(2)
    expect(tab.get_by_test_id("run-validation").get_by_role("row")).to_have_count(2)
    expect(tab.get_by_test_id("run-trial")).to_have_count(3)
    expect(tab.get_by_test_id("run-trial").first).to_contain_text("chosen")
    expect(tab.get_by_test_id("run-trial").last).to_contain_text("failed")
    expect(tab.get_by_test_id("run-facts")).to_contain_text(HASH)
    expect(tab.get_by_test_id("run-facts")).to_contain_text("not exported yet")
    expect(tab.get_by_test_id("research-banner")).to_be_visible()
    shoot(tab, "run")
    tab.get_by_test_id("run-facts").scroll_into_view_if_needed()
    shoot(tab, "run-facts")

    # It grows while it is looked at, and each line has dashes of its own.
    (folder / "log.jsonl").unlink()
    for fold in range(4):
        tell(folder, fold, STEPS)
    tell(folder, 4, 360)
    expect(tab.get_by_test_id("chart-line")).to_have_count(5)
    dashes = [line.get_attribute("class") for line in tab.locator("path.line").all()]
    assert len(set(dashes)) == 5
    part = tab.get_by_role("button", name="nodule")
    part.focus()
    tab.keyboard.press("Space")
    expect(tab.get_by_test_id("chart")).to_have_attribute("aria-label", re.compile("^nodule over steps"))
    shoot(tab, "run-five-folds")

    tab.goto(f"{pages}/runs/{'0' * 16}")
    expect(tab.get_by_test_id("error-note")).to_contain_text("There is no such run.")
