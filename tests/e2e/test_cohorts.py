"""A cohort's life in Chromium: added, frozen, labelled, and looked at through the one counted door."""

import json
from collections.abc import Iterator

import pytest
from cohort_support import HALVES, Place, nodule
from e2e_house import PASSWORD, shoot, sign_in, web_running
from playwright.sync_api import Browser, Page, expect

from readingroom.access.accounts import create_account
from readingroom.core.config import Settings
from readingroom.core.permissions import Role

pytestmark = [pytest.mark.tools, pytest.mark.slow]
READER = "lung-nodule"


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, Place]]:
    """The pages, with ten patients who allow training and whose nodule was accepted, and two who said nothing."""
    with web_running(settings) as database:
        place = Place(settings, database)
        with database.write() as session:
            create_account(session, "rada", PASSWORD, Role.RADIOLOGIST, display_name="Dr. Rada")
            create_account(session, "tech", PASSWORD, Role.TECHNOLOGIST)
        for n in range(10):
            study = place.willing(f"P{n}")
            place.read(study, nodule(f"n{n}"), nodule(f"v{n}", z=60.0), reader=READER)
            place.judge(study, "accept", f"n{n}")
            place.judge(study, "reject", f"v{n}", reason_code="vessel")
            place.finish(study)
        for n in range(2):
            place.send(f"Q{n}")
        yield f"http://127.0.0.1:{settings.web_port}", place


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    tab = context.new_page()
    troubles: list[str] = []
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    yield tab
    context.close()
    assert troubles == []


def test_a_cohort_from_the_question_to_the_locked_test(served: tuple[str, Place], page: Page) -> None:
    web, _place = served
    page.goto(web)
    sign_in(page, "rada")
    page.get_by_role("link", name="Cohorts").click()
    expect(page.get_by_test_id("no-cohorts")).to_be_visible()
    page.get_by_test_id("cohort-name").fill("lung-nodules-2")
    page.get_by_label("What it is for").fill("Version 2 of the lung reader")
    page.get_by_test_id("cohort-modality").fill("CT")
    shoot(page, "cohorts-empty")
    page.get_by_test_id("cohort-add").click()
    expect(page.get_by_test_id("never-frozen")).to_be_visible()
    expect(page.get_by_test_id("question")).to_contain_text("modality CT")
    page.get_by_test_id("freeze").click()
    shoot(page, "cohort-freeze")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("confirm")).to_have_count(0)
    expect(page.get_by_test_id("never-frozen")).to_be_visible()
    page.get_by_test_id("freeze").click()
    page.get_by_test_id("confirm-yes").click()
    expect(page.get_by_role("heading", name="Version 1")).to_be_visible()
    expect(page.get_by_test_id("left-out")).to_contain_text("2: the patient does not allow it")
    page.get_by_test_id("freeze").click()
    page.get_by_test_id("confirm-yes").click()
    expect(page.get_by_test_id("error-note")).to_contain_text("Nothing has changed since version 1")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="← Cohorts").click()
    expect(page.get_by_test_id("cohort-row")).to_have_count(1)


def test_the_one_door(served: tuple[str, Place], page: Page) -> None:
    web, place = served
    cohort = place.add("door", shares=HALVES, title="Locked from the start")
    part = {str(m.study_id): m.part for m in place.members(place.freeze(cohort))}
    testing = {study for study, where in part.items() if where == "test"}
    assert testing
    page.goto(web)
    sign_in(page, "rada")
    expect(page.get_by_role("link", name="Cohorts")).to_be_visible()
    page.goto(f"{web}/cohorts/{cohort.id}")
    expect(page.get_by_test_id("evaluate")).to_be_disabled()
    page.get_by_test_id("freeze-labels").click()
    page.get_by_test_id("confirm-yes").click()
    trained = list(part.values()).count("training")
    expect(page.get_by_test_id("part-training")).to_contain_text(f"{trained} accepted, {trained} rejected")
    expect(page.get_by_test_id("part-test")).to_contain_text("locked")
    for number in (1, 2):
        page.get_by_test_id("evaluate").click()
        expect(page.get_by_test_id("next-look")).to_contain_text(f"This will be evaluation {number} of this test set")
        page.get_by_test_id("evaluate-reader").fill(READER)
        page.get_by_test_id("evaluate-why").fill(f"release candidate {number}")
        shoot(page, "cohort-evaluate")
        page.get_by_test_id("evaluate-yes").click()
        expect(page.get_by_test_id("look")).to_have_count(number)
    expect(page.get_by_test_id("look").nth(1)).to_contain_text("release candidate 2")
    expect(page.get_by_test_id("look").nth(1)).to_contain_text("rada")
    # The reader marked each vessel that a person rejected: one false mark a study.
    expect(page.get_by_test_id("look").nth(0)).to_contain_text(f"{len(testing)} lesions in {len(testing)} studies")
    shoot(page, "cohort")

    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    told_of = {line["study_id"] for line in lines if line["type"] == "label"}
    assert told_of == set(part) - testing


def test_who_has_no_cohorts_sees_no_page_of_them(served: tuple[str, Place], page: Page) -> None:
    web, place = served
    cohort = place.add("door")
    page.goto(web)
    sign_in(page, "tech")
    expect(page.get_by_role("link", name="Worklist")).to_be_visible()
    expect(page.get_by_role("link", name="Cohorts")).to_have_count(0)
    page.goto(f"{web}/cohorts/{cohort.id}")
    expect(page.get_by_test_id("error-note")).to_contain_text("may not do this")
