"""Journeys of who may do what, in Chromium: broken glass and its alert, accounts given and taken, tokens and sessions.

The web process runs alone: studies are put into the archive, nothing reads them.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
from e2e_house import PASSWORD, shoot, sign_in, web_running
from playwright.sync_api import Browser, Page, expect
from support import ct_series

from readingroom.access.accounts import create_account
from readingroom.archive.filing import Filing
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Role

pytestmark = [pytest.mark.tools, pytest.mark.slow]

NewTab = Callable[[], Page]


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[NewTab]:
    """A page of a browser of its own: two people at once. Scripts must stay silent."""
    contexts, troubles = [], []

    def make() -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, Database]]:
    """The pages with an administrator, a radiologist and a resident."""
    with web_running(settings) as database:
        with database.write() as session:
            people = {"ada": Role.ADMINISTRATOR, "rada": Role.RADIOLOGIST, "rex": Role.RESIDENT}
            for name, role in people.items():
                create_account(session, name, PASSWORD, role, display_name=f"{name.title()} {role.value.title()}")
        yield f"http://127.0.0.1:{settings.web_port}", database


@pytest.fixture
def study_id(served: tuple[str, Database], settings: Settings) -> str:
    """A small study in care, of a made-up patient."""
    archive = Archive(settings, served[1], LocalStore(settings.store_folder))
    for ds in ct_series(3, patient_id="SIM-VIP-1", patient_name="Simulated^Person", StudyDescription="SIMULATED chest"):
        buffer = BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        received = archive.put_file(buffer.getvalue(), source="test", filing=Filing())
    assert received.study_id is not None
    return received.study_id


def arrive(tab: Page, pages: str, name: str, password: str = PASSWORD) -> None:
    tab.goto(pages)
    sign_in(tab, name, password)
    expect(tab.get_by_test_id("my-account")).to_be_visible()


def test_restricted_study_broken_glass_and_the_alert(
    served: tuple[str, Database], study_id: str, new_tab: NewTab
) -> None:
    pages, _ = served
    rada, rex, ada = new_tab(), new_tab(), new_tab()
    arrive(rada, pages, "rada")
    rada.get_by_test_id("worklist-row").click()
    rada.get_by_test_id("open-visibility").click()
    rada.get_by_test_id("sees-named").check()
    shoot(rada, "who-sees-it")
    rada.get_by_test_id("visibility-save").click()
    expect(rada.get_by_text("restricted", exact=True)).to_be_visible()
    shoot(rada, "restricted-study")

    # For the resident it does not exist, on the list or by its address.
    arrive(rex, pages, "rex")
    expect(rex.get_by_test_id("worklist-empty")).to_be_visible()
    rex.goto(f"{pages}/study/{study_id}")
    expect(rex.get_by_test_id("error-note")).to_contain_text("There is no such study")
    shoot(rex, "closed-study")

    # Emergency access, by keys alone.
    rex.get_by_test_id("break-glass").focus()
    rex.keyboard.press("Enter")
    expect(rex.get_by_test_id("glass-dialog")).to_be_visible()
    reason = rex.get_by_test_id("glass-reason")
    expect(reason).to_be_enabled()
    reason.focus()
    # One letter: a second one that comes late on a loaded machine would begin another word.
    rex.keyboard.press("o")
    expect(reason).to_have_value("on-call")
    rex.keyboard.press("Tab")
    rex.keyboard.type("Rada is on leave")
    shoot(rex, "break-the-glass")
    rex.keyboard.press("Tab")
    rex.keyboard.press("Tab")
    rex.keyboard.press("Enter")
    expect(rex.get_by_test_id("glass-open-until")).to_contain_text("Open to you by emergency access until")
    shoot(rex, "through-the-glass")
    rex.goto(pages)
    expect(rex.get_by_test_id("worklist-row")).to_have_count(1)

    # Administrators are told, and see no study themselves.
    arrive(ada, pages, "ada")
    expect(ada.get_by_test_id("worklist-empty")).to_contain_text("see no patient's study")
    expect(ada.get_by_test_id("alert-count")).to_have_text("1")
    shoot(ada, "administrator-worklist")
    ada.get_by_role("link", name="Alerts").click()
    alert = ada.get_by_test_id("alert")
    expect(alert).to_contain_text("On call for the people named on the study. Rada is on leave")
    shoot(ada, "alerts")
    # An attempt that finds nothing is an alert too, which another administrator sees to.
    ada.get_by_test_id("open-glass").click()
    ada.get_by_test_id("glass-value").fill("NOBODY-1")
    ada.get_by_test_id("glass-reason").select_option("emergency")
    ada.get_by_test_id("glass-open").click()
    expect(ada.get_by_test_id("error-note")).to_contain_text("Nothing is closed to you under that name")
    shoot(ada, "glass-missed")
    ada.keyboard.press("Escape")
    ada.get_by_role("button", name="Refresh").click()
    expect(ada.get_by_test_id("alert")).to_have_count(2)
    expect(ada.get_by_text("Another administrator does")).to_be_visible()
    ada.get_by_test_id("acknowledge").click()
    expect(ada.get_by_text("✓ ada")).to_be_visible()
    expect(ada.get_by_test_id("alert-count")).to_have_text("1")


def test_account_given_its_password_chosen_and_taken_away(served: tuple[str, Database], new_tab: NewTab) -> None:
    pages, _ = served
    ada, dora = new_tab(), new_tab()
    arrive(ada, pages, "ada")
    ada.get_by_role("link", name="Projects").click()
    ada.get_by_test_id("project-name").fill("trial-2026")
    ada.get_by_test_id("project-kind").select_option("research")
    ada.get_by_test_id("project-add").click()
    expect(ada.get_by_test_id("project-row")).to_have_count(2)
    shoot(ada, "projects")
    ada.get_by_role("link", name="Accounts").click()
    expect(ada.get_by_test_id("account-row")).to_have_count(3)
    ada.get_by_test_id("account-add").click()
    ada.get_by_test_id("account-name").fill("dora")
    ada.get_by_test_id("account-display").fill("Dora Doctor")
    ada.get_by_test_id("account-role").select_option("researcher")
    expect(ada.get_by_test_id("member-care")).to_be_disabled()
    ada.get_by_test_id("member-trial-2026").select_option("researcher")
    shoot(ada, "account-add")
    ada.get_by_test_id("account-save").click()
    given = ada.get_by_test_id("given-password").inner_text()
    shoot(ada, "accounts")

    arrive(dora, pages, "dora", given)
    expect(dora.get_by_test_id("password-owed")).to_be_visible()
    expect(dora.get_by_role("link", name="Worklist")).to_have_count(0)
    shoot(dora, "password-owed")
    dora.get_by_test_id("current-password").fill(given)
    dora.get_by_test_id("new-password").fill("violet anvil 1962 harbour")
    dora.get_by_test_id("new-password-again").fill("violet anvil 1962 harbour")
    dora.get_by_test_id("change-password").click()
    expect(dora.get_by_role("link", name="Worklist")).to_be_visible()
    dora.get_by_role("link", name="Worklist").click()
    expect(dora.get_by_test_id("worklist-empty")).to_be_visible()
    expect(dora.get_by_test_id("import-drop")).to_have_count(0)
    shoot(dora, "researcher-worklist")

    ada.get_by_role("button", name="Change dora").click()
    ada.get_by_test_id("account-disabled").check()
    shoot(ada, "account-change")
    ada.get_by_test_id("account-save").click()
    row = ada.locator('[data-account="dora"]')
    expect(row).to_contain_text("disabled")
    expect(dora.get_by_test_id("sign-in-name")).to_be_visible(timeout=30_000)

    # A machine, with a token that only an administrator can make for it.
    ada.get_by_test_id("account-add").click()
    ada.get_by_test_id("account-name").fill("prometheus")
    ada.get_by_test_id("account-role").select_option("service")
    ada.get_by_test_id("account-save").click()
    ada.get_by_role("button", name="Tokens of prometheus").click()
    ada.get_by_test_id("scope-system:read").check()
    ada.get_by_test_id("token-name").fill("prometheus")
    ada.get_by_test_id("token-make").click()
    token = ada.get_by_test_id("token-made").inner_text()
    shoot(ada, "machine-tokens")
    assert status(f"{pages}/metrics", token) == 200
    assert status(f"{pages}/api/v1/worklist", token) == 403


def status(url: str, token: str) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_my_tokens_and_sessions(served: tuple[str, Database], new_tab: NewTab) -> None:
    pages, _ = served
    here, there = new_tab(), new_tab()
    arrive(here, pages, "rada")
    arrive(there, pages, "rada")
    here.get_by_test_id("my-account").click()
    here.get_by_test_id("scope-study:query").check()
    here.get_by_test_id("token-name").fill("nightly script")
    here.get_by_test_id("token-make").click()
    token = here.get_by_test_id("token-made").inner_text()
    shoot(here, "account-tokens")
    assert status(f"{pages}/api/v1/worklist", token) == 200
    assert status(f"{pages}/dicomweb/studies", token) == 204
    assert status(f"{pages}/api/v1/quarantine", token) == 403
    here.get_by_role("button", name="Revoke nightly script").click()
    expect(here.get_by_test_id("token")).to_contain_text("revoked")
    assert status(f"{pages}/api/v1/worklist", token) == 401

    expect(here.get_by_test_id("session")).to_have_count(2)
    here.get_by_test_id("account-sessions").get_by_role("button").click()
    expect(here.get_by_test_id("session")).to_have_count(1)
    expect(there.get_by_test_id("sign-in-name")).to_be_visible(timeout=30_000)
