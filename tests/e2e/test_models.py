"""The models page in Chromium: a version in shadow is looked at, made live with a reason, and taken back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_house import PASSWORD, shoot, sign_in, web_running
from model_support import package
from playwright.sync_api import Page, expect

from readingroom.access.accounts import create_account
from readingroom.core.config import Settings
from readingroom.core.permissions import Role
from readingroom.learning.models.adding import add_version
from readingroom.learning.models.package import read_package

pytestmark = [pytest.mark.tools, pytest.mark.slow]


@pytest.fixture
def pages(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The web process alone, with a version of the lung reader in shadow."""
    draft = read_package(package(tmp_path / "p", name="lung-nodule", title="Another lung reader"), lambda *_: b"")
    with web_running(settings) as database:
        with database.write() as session:
            create_account(session, "ada", PASSWORD, Role.ADMINISTRATOR)
            create_account(session, "rada", PASSWORD, Role.RADIOLOGIST)
            add_version(session, settings, draft, actor="command line", why="to see how it does")
        yield f"http://127.0.0.1:{settings.web_port}"


def test_promote_and_roll_back_with_a_reason(pages: str, tab: Page) -> None:
    tab.goto(f"{pages}/models")
    sign_in(tab, "ada")
    expect(tab.get_by_test_id("research-banner")).to_contain_text("esearch use only")
    version = tab.get_by_test_id("model-version")
    installed = tab.locator("[data-testid=model-installed][data-reader=lung-nodule]")
    expect(version).to_contain_text("shadow")
    expect(version).to_contain_text("It has read nothing yet.")
    expect(installed).to_contain_text("live")
    tab.get_by_test_id("model-promote").click()
    # No reason, no change.
    expect(tab.get_by_test_id("model-confirm")).to_be_disabled()
    tab.get_by_test_id("model-why").fill("As good on our scanner")
    tab.get_by_test_id("model-confirm").click()
    expect(version).to_have_attribute("data-state", "live")
    expect(installed).to_contain_text("replaced")
    version.locator("summary").first.click()
    expect(tab.get_by_test_id("model-change").first).to_contain_text("As good on our scanner")
    expect(tab.get_by_test_id("model-change").first).to_contain_text("ada")
    shoot(tab, "models")
    # By keyboard: Escape leaves everything as it is.
    tab.get_by_test_id("model-rollback").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_test_id("model-dialog")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_test_id("model-dialog")).to_have_count(0)
    expect(version).to_have_attribute("data-state", "live")
    tab.get_by_test_id("model-rollback").click()
    tab.get_by_test_id("model-why").fill("Not after all")
    tab.get_by_test_id("model-confirm").click()
    expect(version).to_have_attribute("data-state", "retired")
    expect(installed).to_contain_text("live")


def test_who_may_not_see_it_has_no_such_page_in_the_bar(pages: str, tab: Page) -> None:
    tab.goto(pages)
    sign_in(tab, "rada")
    expect(tab.get_by_test_id("my-account")).to_be_visible()
    expect(tab.get_by_role("navigation").get_by_text("Models")).to_have_count(0)
