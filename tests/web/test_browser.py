"""Both listeners in a real browser: under their strict policies nothing is blocked, and nobody else is asked."""

import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from e2e_house import shoot, web_running
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, text
from support import ct_series, skip_or_fail
from web_support import PASSWORD

from readingroom.access.accounts import create_account
from readingroom.access.audit.chain import check
from readingroom.access.uses import Made, removed, used
from readingroom.archive.receive import Archive
from readingroom.archive.store import open_store
from readingroom.archive.tables import Patient, Study
from readingroom.core.audit import AuditCode, record_alone
from readingroom.core.certificates import SERVER, issue
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Role
from readingroom.core.purposes import Purpose
from readingroom.web.static_files import FOLDER

pytestmark = [pytest.mark.tools, pytest.mark.slow]


@pytest.fixture
def served(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """The web process with one simulated study; asked for ``https`` it also serves from a sealed store."""
    if getattr(request, "param", "http") == "https":
        pair = issue(settings.home / "tls", "server", SERVER, ["127.0.0.1"])
        secure = {"tls_certificate": pair.certificate, "tls_key": pair.key, "store_encryption": True}
        settings = settings.model_copy(update=secure)
    if not (FOLDER / "viewer" / "index.html").exists():
        skip_or_fail("the pages are not built: make setup")
    with web_running(settings) as database:
        with database.write() as session:
            create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)
        archive = Archive(settings, database, open_store(settings))
        y, x = np.mgrid[:128, :128]
        disc = (np.hypot(y - 64, x - 64) < 50).astype(np.uint16) * 1000 + 24
        for ds in ct_series(8, rows=128, columns=128, pixels=disc):
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            assert archive.put_file(buffer.getvalue(), source="test").ok
        yield settings


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 700}, ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(90_000)
    yield page
    context.close()


@pytest.mark.parametrize(("served", "scheme"), [("http", "http"), ("https", "https")], indirect=["served"])
def test_both_apps_under_their_policies(served: Settings, page: Page, scheme: str) -> None:
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if re.search("Content.Security|Refused", m.text) else None)
    page.on("pageerror", lambda e: troubles.append(str(e)))
    ours = (f"{scheme}://127.0.0.1:{served.web_port}/", f"{scheme}://127.0.0.1:{served.viewer_port}/", "blob:", "data:")
    page.on("request", lambda r: None if r.url.startswith(ours) else troubles.append(r.url))

    # Not signed in: the viewer sends to our page.
    page.goto(f"{ours[1]}viewer?StudyInstanceUIDs=1.2.3")
    assert page.url == ours[0]
    page.wait_for_selector("input[type=password]")
    assert page.evaluate("crossOriginIsolated")
    answer = page.request.post(f"{ours[0]}api/v1/session", data={"name": "ann", "password": PASSWORD})
    assert answer.ok
    (cookie,) = page.context.cookies()
    by_tls = scheme == "https"
    assert (cookie["name"].startswith("__Host-"), cookie["secure"], cookie["path"]) == (by_tls, by_tls, "/")
    item = page.request.get(f"{ours[0]}api/v1/worklist").json()["items"][0]

    # One session for both; the study opens by our own id and shows its images.
    frames: list[str] = []
    page.on("response", lambda r: frames.append(r.url) if r.ok and re.search("/frames/", r.url) else None)
    page.goto(f"{ours[1]}open/{item['study_id']}")
    page.wait_for_selector("canvas.cornerstone-canvas, .cornerstone-canvas, canvas")
    page.wait_for_function("document.body.innerText.includes('CT chest')")
    page.wait_for_selector("text=Research use only")
    for _ in range(180):
        if len(frames) >= 8:
            break
        page.wait_for_timeout(250)
    assert len(frames) >= 8
    assert page.evaluate("crossOriginIsolated && new SharedArrayBuffer(8).byteLength === 8")
    assert page.locator("text=Skip all").count() == 0
    assert troubles == []


def test_signing_out_leaves_no_image_behind(served: Settings, page: Page) -> None:
    ours = f"http://127.0.0.1:{served.web_port}/"
    frames: list[str] = []
    page.on("response", lambda r: frames.append(r.url) if r.ok and "/frames/" in r.url else None)
    page.goto(ours)
    page.get_by_test_id("sign-in-name").fill("ann")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-submit").click()
    page.get_by_test_id("worklist-row").first.click()
    page.wait_for_selector("[data-testid=image-load][data-left='0']", state="attached")
    assert len(frames) == 8
    # Scrolling is served from the page's own memory: no frame is asked for twice.
    page.keyboard.press("PageDown")
    page.keyboard.press("PageUp")
    page.wait_for_timeout(500)
    assert len(frames) == len(set(frames)) == 8

    ask = "(url) => fetch(url, {cache: 'force-cache'}).then((answer) => answer.status)"
    page.evaluate("window.marked = true")
    page.get_by_test_id("sign-out").click()
    page.wait_for_selector("input[type=password]")
    assert page.evaluate("window.marked === undefined"), "what the page held in memory is gone"
    # The browser answers from its cache whatever it has there, however old.
    assert {page.evaluate(ask, url) for url in frames} == {401}
    page.go_back()
    page.wait_for_selector("input[type=password]")
    assert page.locator("canvas").count() == 0


def test_what_the_patient_allows(served: Settings, page: Page) -> None:
    """By keys alone: open, write down, see it, take it back; what was learned from the patient stays in the list."""
    ours = f"http://127.0.0.1:{served.web_port}/"
    page.goto(ours)
    page.get_by_test_id("sign-in-name").fill("ann")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-submit").click()
    page.get_by_test_id("worklist-row").first.click()
    page.wait_for_selector("[data-testid=study-page]")
    page.keyboard.press("c")
    research = page.locator("[data-testid=consent-purpose][data-purpose=research]")
    expect(research).to_have_attribute("data-allowed", "false")
    expect(page.locator("[data-purpose=care]")).to_have_attribute("data-allowed", "true")
    shoot(page, "consent-1-nothing-decided")

    research.get_by_test_id("consent-record").press("Enter")
    research.get_by_test_id("consent-reference").press_sequentially("form 17")
    research.get_by_test_id("consent-until").fill("2999-01-31")
    shoot(page, "consent-2-form")
    research.get_by_test_id("consent-reference").press("Enter")
    expect(research).to_have_attribute("data-allowed", "true")
    expect(research).to_contain_text("It counts until 2999-01-31")

    database = Database(served.index_url)
    with database.write() as session:
        (patient_id,) = session.scalars(select(Patient.id))
        for what in ("cohort", "model"):
            made = Made("learning", what, f"{what}-1")
            used(session, [patient_id], Purpose.RESEARCH, made, defaults=served.purposes, actor="ann")
        removed(session, patient_id, Purpose.RESEARCH, [Made("learning", "cohort", "cohort-1")])
    database.close()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    research.get_by_test_id("consent-withdraw").press("Enter")
    expect(research.get_by_test_id("consent-confirm")).to_contain_text("can't be unlearned")
    shoot(page, "consent-3-confirm")
    # Cancel is what the keyboard meets first.
    page.keyboard.press("Enter")
    expect(research).to_have_attribute("data-allowed", "true")
    research.get_by_test_id("consent-withdraw").press("Enter")
    research.get_by_test_id("consent-withdraw-confirm").press("Enter")
    expect(research).to_have_attribute("data-allowed", "false")
    expect(research.get_by_test_id("consent-uses").locator("li")).to_have_count(2)
    expect(research.locator("li[data-removed=true]")).to_have_count(1)
    research.locator("summary").press("Enter")
    expect(research.locator("tbody tr")).to_have_count(2)
    research.scroll_into_view_if_needed()
    shoot(page, "consent-4-withdrawn")

    training = page.locator("[data-purpose=training]")
    training.get_by_test_id("consent-record").press("Enter")
    training.get_by_test_id("consent-reference").fill("form 18")
    training.get_by_test_id("consent-until").fill("2001-01-31")
    training.get_by_test_id("consent-save").click()
    expect(training.get_by_test_id("error-note")).to_contain_text("ends before it begins")
    shoot(page, "consent-5-error")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("consent-dialog")).to_have_count(0)


def test_the_audit_page_answers_who_saw_a_patient(served: Settings, page: Page) -> None:
    """From a study and by identifier; what somebody did; the state of the chain; nobody's name in an address."""
    ours = f"http://127.0.0.1:{served.web_port}/"
    database = Database(served.index_url)
    with database.write() as session:
        create_account(session, "ada", PASSWORD, Role.ADMINISTRATOR)
    with database.read() as session:
        study_id, identifier = session.execute(
            select(Study.id, Patient.PatientID).join(Patient, Patient.id == Study.patient_pk)
        ).one()
    record_alone(database, AuditCode.INSTANCES_ACCESSED, "study-opened", "ann", study_id=study_id, host="192.0.2.9")
    assert check(served, database).intact
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.goto(f"{ours}audit")
    page.get_by_test_id("sign-in-name").fill("ada")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-submit").click()

    expect(page.get_by_test_id("audit-state")).to_contain_text("Chain intact up to event")
    page.get_by_test_id("audit-patient-id").fill(identifier)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("audit-people")).to_contain_text("ann")
    expect(page.get_by_test_id("audit-event")).to_have_count(1)
    expect(page.get_by_test_id("audit-event")).to_contain_text("opened the study")
    expect(page.get_by_test_id("audit-event")).to_contain_text("192.0.2.9")
    page.get_by_role("button", name="Everything").click()
    # Looking it up is in it.
    expect(page.locator("[data-action='audit-patient']")).to_have_count(1)
    shoot(page, "audit-patient")
    page.get_by_test_id("audit-patient-id").fill("no such patient")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("error-note")).to_contain_text("There is no such patient here.")
    assert page.get_by_test_id("audit-event").count() == 0, "another patient's events are gone"

    page.get_by_role("button", name="What did this person do").click()
    page.get_by_test_id("audit-actor").fill("ann")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("audit-event")).to_have_count(1)
    expect(page.get_by_test_id("audit-event")).to_contain_text(identifier)
    shoot(page, "audit-person")

    # From the menu of a study (an administrator sees one after breaking its glass; the address is what matters).
    page.goto(f"{ours}audit/study/{study_id}")
    expect(page.get_by_test_id("audit-patient")).to_contain_text(identifier)
    assert not [address for address in addresses if identifier in address]

    # What somebody altered is said in red.
    with database.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_event_no_update"))
        connection.execute(text("UPDATE audit_event SET actor = 'nobody' WHERE id = 2"))
    assert not check(served, database).intact
    page.goto(f"{ours}audit")
    expect(page.get_by_role("alert")).to_contain_text("The audit is not as it was written. Event 2 was altered")
    shoot(page, "audit-altered")
    database.close()
