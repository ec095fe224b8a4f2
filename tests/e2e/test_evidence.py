"""Evidence and rules where the radiologist sees them: heat map, details, categories that follow verdicts, priors."""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import leaks
import pytest
from e2e_house import PASSWORD, House, shoot, sign_in, wait_until
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import select
from support import free_port

from readingroom.archive.tables import Study
from readingroom.core.database import Database
from readingroom.imaging.phantom import NoduleWish
from readingroom.imaging.simulate import write_chest_ct

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(600)]

DENSE = 2000.0
"""HU that no tissue has: the test reader marks what has them."""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture
def comparing(tmp_path: Path, tiny_reader: Path) -> Iterator[House]:
    """``readingroom serve`` with one radiologist, where only the test reader that compares is read with."""
    home = tmp_path / "house"
    home.mkdir()
    web, viewer, dicom = (free_port() for _ in range(3))
    (home / "config.toml").write_text(
        f"web_port = {web}\nviewer_port = {viewer}\ndicom_port = {dicom}\ndicom_open = true\nquiet_seconds = 1.0\n"
        'readers = ["tiny-nodule"]\n'
    )
    program = [sys.executable, "-m", "readingroom.cli"]
    paths = os.pathsep.join(path for path in (str(tiny_reader), os.environ.get("PYTHONPATH", "")) if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    subprocess.run(
        [*program, "account", "add", "rada", "--role", "radiologist", "--home", str(home)],
        env={**environment, "READINGROOM_PASSWORD": PASSWORD}, check=True,
    )  # fmt: skip
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*program, "serve", "--home", str(home)], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    address = f"http://127.0.0.1:{web}"
    try:
        wait_until(lambda: answers(f"{address}/health"), "the web process answers", 90)
        yield House(home, address, f"http://127.0.0.1:{viewer}", dicom, tmp_path, process, database)
    finally:
        database.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        leaks.look_through(home)


def send(house: House, tool: Callable[[str], str], folder: Path, day: str, *wishes: NoduleWish) -> str:
    """Send a study of the one simulated patient and return its id once it is read."""
    done = write_chest_ct(
        folder, slices=80, rows=256, nodules=wishes, patient_number=5, study_date=day, noise_hu=12.0, seed=3
    )
    port = str(house.dicom_port)
    subprocess.run([tool("storescu"), "-aec", "READINGROOM", "+sd", "127.0.0.1", port, str(folder)], check=True)

    def study() -> Study | None:
        with house.database.read() as session:
            return session.scalars(select(Study).where(Study.StudyInstanceUID == done.study_instance_uid)).first()

    wait_until(lambda: (one := study()) is not None and one.state == "read", f"the study of {day} is read", 180)
    row = study()
    assert row is not None
    return row.id


def category(page: Page, table: str) -> Locator:
    return page.get_by_test_id("assessment").filter(has_text=table)


def test_evidence_rules_and_priors(comparing: House, page: Page, tool: Callable[[str], str], tmp_path: Path) -> None:
    send(comparing, tool, tmp_path / "then", "20250901", NoduleWish(10.0, DENSE, "right", 0.62))
    study_id = send(
        comparing, tool, tmp_path / "now", "20260101",
        NoduleWish(15.0, DENSE, "right", 0.62), NoduleWish(9.0, DENSE, "left", 0.45),
    )  # fmt: skip
    page.goto(f"{comparing.web}/study/{study_id}")
    sign_in(page)
    findings = page.get_by_test_id("finding-item")
    expect(findings).to_have_count(2, timeout=30_000)
    expect(page.get_by_test_id("image-load").first).to_have_attribute("data-left", "0", timeout=90_000)

    # Details: what it is, what the reader compared it with, why, and what it looks like.
    chosen = findings.first
    chosen.click()
    expect(chosen.get_by_test_id("characteristics")).to_contain_text("Density typeSolid 91%")
    rules = chosen.get_by_test_id("finding-assessments")
    expect(rules).to_contain_text("122 days before")
    expect(chosen).to_contain_text("Volume doubling time")
    rules.locator("summary").first.click()
    expect(rules).to_contain_text("doubling time")
    expect(rules).to_contain_text("Recommended there:")
    expect(rules).to_contain_text("Lung-RADS 2022, rule")
    chosen.get_by_text("Why the reader says so").click()
    expect(chosen.get_by_test_id("contributions")).to_contain_text("size: mean diameter in mm")
    expect(chosen.get_by_test_id("similar")).to_contain_text("Nearest cases of the training set of tiny-nodule")
    shoot(page, "evidence-details")

    # The heat map: off by default, of the chosen finding, on all panes, with its meaning.
    expect(page.get_by_test_id("heat-layer")).to_have_count(0)
    page.keyboard.press("h")
    expect(page.get_by_test_id("heat-legend")).to_contain_text("Where the network looked for finding 1; not where")
    expect(page.get_by_test_id("heat-layer")).to_have_count(1)
    page.keyboard.press("m")
    expect(page.get_by_test_id("heat-layer")).to_have_count(3)
    page.get_by_test_id("heat-opacity").fill("0.8")
    expect(page.get_by_test_id("heat-layer").first).to_have_css("opacity", "0.8")
    page.wait_for_timeout(1500)
    shoot(page, "evidence-heat")
    findings.nth(1).click()
    expect(page.get_by_test_id("heat-legend")).to_contain_text("finding 2")
    page.keyboard.press("h")
    expect(page.get_by_test_id("heat-layer")).to_have_count(0)

    # Categories follow what is accepted; the AI's own stays to be seen beside them.
    lung_rads = category(page, "Lung-RADS")
    expect(lung_rads).to_contain_text("no category yet")
    findings.first.click()
    page.get_by_test_id("finding-accept").first.click()
    expect(lung_rads).to_have_attribute("data-category", "LungRADS-4B")
    expect(lung_rads).to_contain_text("Dominant: finding 1")
    expect(lung_rads).to_contain_text("1 nodule nobody has judged")
    findings.nth(1).click()
    findings.nth(1).get_by_test_id("finding-accept").click()
    expect(lung_rads.get_by_test_id("assessment-reader")).to_contain_text("the same")
    impression = page.get_by_test_id("report-section-impression")
    expect(impression).to_have_value(re.compile("Lung-RADS 4B: very suspicious. Recommended there:"))
    expect(page.get_by_test_id("report-section-comparison")).to_have_value(re.compile("study of 2025-09-01"))
    shoot(page, "evidence-accepted")

    # What no image shows is said by a person, and counts at once.
    facts = page.get_by_test_id("patient-facts")
    facts.locator("summary").click()
    facts.get_by_test_id("fact-screening").select_option(label="Incidental")
    expect(lung_rads).to_have_attribute("data-category", "not-applicable")
    expect(facts).to_contain_text("Said by rada")
    expect(impression).not_to_have_value(re.compile("4B"))
    shoot(page, "evidence-facts")
    facts.get_by_test_id("fact-screening").select_option(label="Screening")
    expect(lung_rads).to_have_attribute("data-category", "LungRADS-4B")
    findings.first.click()
    page.keyboard.press("r")
    page.keyboard.press("2")
    expect(findings.first).to_have_attribute("data-decision", "rejected")
    expect(lung_rads).not_to_have_attribute("data-category", "LungRADS-4B")
    expect(lung_rads.get_by_test_id("assessment-reader")).to_contain_text("not what the accepted findings give")
    expect(impression).not_to_have_value(re.compile("4B"))
    expect(page.get_by_test_id("report-section-findings")).to_have_value(re.compile("said otherwise: Lung-RADS 4B"))
    shoot(page, "evidence-rejected")
    page.keyboard.press("s")
    expect(page.get_by_test_id("sign-assessment").first).to_contain_text("Lung-RADS")
    shoot(page, "evidence-sign")
