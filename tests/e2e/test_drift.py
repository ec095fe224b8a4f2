"""The drift page in Chromium: a scanner's scores fall, an alarm appears once, charts show it, baselines begin anew.

The web process runs alone over an index with constructed readings; the watch is called as the worker calls it.
"""

import threading
from collections.abc import Iterator

import pytest
from drift_support import PLANTED, House, Season
from e2e_house import PASSWORD, shoot, sign_in, sign_out, web_running
from playwright.sync_api import Page, expect

from readingroom.access.accounts import create_account
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Role
from readingroom.review.judged import judged
from readingroom.workflow.drift import watch_drift

pytestmark = [pytest.mark.tools, pytest.mark.slow]


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, Database]]:
    with web_running(settings) as database:
        with database.write() as session:
            for name, role in {"ada": Role.ADMINISTRATOR, "rada": Role.RADIOLOGIST, "rex": Role.RESIDENT}.items():
                create_account(session, name, PASSWORD, role)
        yield f"http://127.0.0.1:{settings.web_port}", database


def look(database: Database) -> None:
    watch_drift(database, judged, threading.Event())


def test_scores_of_a_scanner_fall(served: tuple[str, Database], tab: Page) -> None:
    pages, database = served
    tab.goto(f"{pages}/drift")
    sign_in(tab, "ada")
    expect(tab.get_by_test_id("drift-empty")).to_be_visible()
    shoot(tab, "drift-empty")

    with database.write() as session:
        one = House(session, seed=1)
        one.read(400, Season(), signed=True)
        House(session, seed=2, scanner={"Manufacturer": "Other", "ConvolutionKernel": "B30"}).read(70, Season())
    look(database)
    tab.get_by_role("button", name="Refresh").click()
    expect(tab.get_by_test_id("drift-watch")).to_have_attribute("data-state", "in-control")
    shoot(tab, "drift-in-control")

    with database.write() as session:
        one.session = session
        one.read(200, Season(score=lambda rng: float(rng.beta(4, 8)), accepted=0.2), signed=True)
    look(database)
    look(database)
    tab.get_by_role("link", name="Alerts").click()
    expect(tab.get_by_test_id("alert")).to_have_count(1)
    expect(tab.get_by_test_id("alert")).to_contain_text(
        "lung-nodule 2.0 on ACME CT-9, kernel Br40: Top probability, mean"
    )
    expect(tab.get_by_test_id("alert")).to_contain_text("Findings accepted")
    shoot(tab, "drift-alert")

    # The charts, alarms first.
    tab.get_by_role("link", name="Charts").click()
    expect(tab.get_by_test_id("drift-watch")).to_have_attribute("data-state", "alarm")
    expect(tab.get_by_test_id("drift-stream").first).to_have_attribute("data-state", "alarm")
    score = tab.locator('[data-measure="score"]')
    expect(score.get_by_role("img", name="out of limits. Newest 0.")).to_be_visible()
    expect(score.get_by_test_id("point-out").last).to_be_visible()
    expect(score).to_contain_text("Baseline")
    expect(score).to_contain_text("100 readings, 2026-01-05 to 2026-01-")
    expect(tab.get_by_test_id("research-banner")).to_be_visible()
    shoot(tab, "drift-alarm")
    tab.get_by_text("Numbers and method").first.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("◆ out", exact=True).first).to_be_visible()
    shoot(tab, "drift-numbers")

    # The other scanner, by keys alone: too few readings for a word.
    tab.get_by_test_id("drift-scanner").focus()
    tab.keyboard.type("Oth")
    expect(tab.locator('[data-measure="abstained"]')).to_contain_text("70 of 100 readings for the baseline")
    expect(tab.get_by_test_id("control-chart")).to_have_count(0)
    assert "/drift/" in tab.url
    shoot(tab, "drift-gathering")
    assert PLANTED not in tab.content()
    tab.go_back()
    expect(tab.get_by_test_id("drift-watch")).to_have_attribute("data-state", "alarm")

    # The change is known.
    tab.get_by_test_id("drift-restart").click()
    tab.get_by_test_id("restart-reason").fill("New detector")
    shoot(tab, "drift-restart")
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("by ada: New detector")).to_be_visible()
    expect(tab.get_by_test_id("drift-watch")).to_have_attribute("data-state", "gathering")
    shoot(tab, "drift-restarted")


def test_who_sees_the_page(served: tuple[str, Database], tab: Page) -> None:
    pages, database = served
    with database.write() as session:
        House(session, seed=1).read(130, Season())
    look(database)
    tab.goto(f"{pages}/drift")
    sign_in(tab, "rada")
    expect(tab.get_by_test_id("drift-watch")).to_be_visible()
    expect(tab.get_by_test_id("drift-restart")).to_have_count(0)
    sign_out(tab)
    tab.goto(pages)
    sign_in(tab, "rex")
    expect(tab.get_by_test_id("my-account")).to_be_visible()
    expect(tab.get_by_role("navigation").get_by_role("link", name="Drift", exact=True)).to_have_count(0)
