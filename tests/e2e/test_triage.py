"""Triage in a real browser: nine studies wait, a head CT with blood comes by DICOM, is on top, rings, and is signed.

And the simulated day. The reader is the tests' own (``tests/tiny_reader/tiny_bleed.py``), everything else is the house.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from e2e_house import PASSWORD, House, serving, shoot, sign_in, sign_out, wait_until, web_running
from playwright.sync_api import Page, expect
from pydicom.dataset import Dataset
from sqlalchemy import select
from support import ct_series

from readingroom.access.accounts import create_account
from readingroom.archive.tables import Study
from readingroom.core.config import Settings
from readingroom.core.permissions import Role
from readingroom.readers.tables import ReadingRow

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(600)]

ROWS, SLICES = 64, 12


def head_ct(number: int, *, bleeds: bool) -> list[Dataset]:
    """A made-up head: skull, brain, and blood where it ``bleeds``."""
    k, j, i = np.indices((SLICES, ROWS, ROWS))
    away = np.sqrt(((k - 5.5) / 5.5) ** 2 + ((j - 31.5) / 26) ** 2 + ((i - 31.5) / 22) ** 2)
    hu = np.where(away < 1, np.where(away > 0.88, 900, 35), -1000)
    if bleeds:
        hu[np.sqrt(((k - 6) / 2) ** 2 + ((j - 30) / 7) ** 2 + ((i - 40) / 6) ** 2) < 1] = 70
    series = ct_series(
        SLICES, rows=ROWS, columns=ROWS, patient_id=f"HEAD-{number}", patient_name=f"Simulated^Head {number}",
        BodyPartExamined="HEAD", StudyDescription="CT head", AccessionNumber=f"H{number}",
        PixelSpacing=[3.5, 3.5], SliceThickness=12.0, ImageComments="simulated",
    )  # fmt: skip
    for n, ds in enumerate(series):
        ds.PixelData = (hu[n] + 1024).astype(np.uint16).tobytes()
        ds.ImagePositionPatient = [-110.0, -110.0, 12.0 * n]
    return series


def send(tool: Callable[[str], str], house: House, folder: Path, series: list[Dataset]) -> None:
    folder.mkdir()
    for n, ds in enumerate(series):
        ds.save_as(folder / f"{n}.dcm", enforce_file_format=True)
    command = [tool("storescu"), "-aec", "READINGROOM", "+sd", "127.0.0.1", str(house.dicom_port), str(folder)]
    subprocess.run(command, check=True)


@pytest.fixture
def pager() -> Iterator[tuple[str, list[bytes]]]:
    """A webhook's receiver on this machine: its address, and what it was sent."""
    got: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
        server.shutdown()


@pytest.fixture
def emergency(
    tmp_path: Path, tool: Callable[[str], str], tiny_reader: Path, pager: tuple[str, list[bytes]]
) -> Iterator[House]:
    """A house whose one reader finds blood in heads, with a webhook."""
    home, destination = tmp_path / "home", tmp_path / "destination"
    home.mkdir()
    destination.mkdir()
    config = f'readers = ["tiny-bleed"]\n[[urgent.channels]]\nkind = "webhook"\nname = "pager"\nurl = "{pager[0]}"\n'
    paths = os.pathsep.join(path for path in (str(tiny_reader), os.environ.get("PYTHONPATH", "")) if path)
    more = {"PYTHONPATH": paths, "READINGROOM_URGENT_PAGER": "a-key-for-tests"}
    with serving(home, destination, tool("storescp"), config=config, environment=more) as running:
        yield running


def states(house: House) -> list[str]:
    with house.database.read() as session:
        return list(session.scalars(select(Study.state)))


def test_a_positive_rises_and_rings(
    emergency: House, page: Page, tool: Callable[[str], str], tmp_path: Path, pager: tuple[str, list[bytes]]
) -> None:
    house = emergency
    for number in range(9):
        series = head_ct(number, bleeds=False) if number % 3 == 0 else ct_series(5, patient_id=f"CHEST-{number}")
        send(tool, house, tmp_path / str(number), series)
    wait_until(lambda: states(house) == ["read"] * 9, "nine studies are read", 240)
    page.goto(house.web)
    sign_in(page)
    rows = page.get_by_test_id("worklist-row")
    expect(rows).to_have_count(9)
    expect(page.get_by_test_id("urgent-alert")).to_have_count(0)

    send(tool, house, tmp_path / "positive", head_ct(100, bleeds=True))
    alert = page.get_by_test_id("urgent-alert")
    expect(alert).to_contain_text("Urgent: intracranial hemorrhage, probability 0.91", timeout=120_000)
    expect(alert).to_contain_text("Simulated: CT head")
    expect(alert).to_contain_text("tiny-bleed")
    expect(page.get_by_test_id("urgent-banner")).to_have_attribute("aria-live", "assertive")
    expect(page.get_by_test_id("urgent-count")).to_have_text("1")
    expect(rows).to_have_count(10)
    first = rows.first
    expect(first).to_contain_text("Head 100")
    expect(first).to_contain_text("stat")
    expect(first).to_contain_text("Raised by intracranial hemorrhage, probability 0.91.")
    expect(first.get_by_test_id("urgent-state")).to_contain_text("shown, not acknowledged")
    shoot(page, "triage-1-worklist")

    # The whole way by keyboard: to the study, and to the button that acknowledges.
    page.get_by_test_id("urgent-open").focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("study-page").wait_for()
    expect(page.get_by_test_id("finding-item")).to_have_count(1)
    expect(page.get_by_test_id("image-load").first).to_have_attribute("data-left", "0", timeout=90_000)
    above, images = (
        page.get_by_test_id("urgent-banner").bounding_box(),
        page.get_by_test_id("viewport-axial").bounding_box(),
    )
    assert above is not None
    assert images is not None
    assert above["y"] + above["height"] <= images["y"], "the alert covers no image"
    page.wait_for_timeout(1500)
    shoot(page, "triage-2-study")
    page.get_by_test_id("urgent-acknowledge").focus()
    page.keyboard.press("Enter")
    expect(alert).to_have_count(0)
    expect(page.get_by_test_id("urgent-count")).to_have_count(0)

    page.get_by_test_id("finding-accept").first.click()
    expect(page.get_by_test_id("finding-item")).to_have_attribute("data-decision", "accepted")
    page.get_by_test_id("no-further-findings").first.click()
    page.get_by_test_id("open-sign").first.click()
    page.get_by_test_id("sign-dialog").wait_for()
    for box in page.get_by_role("dialog").get_by_role("checkbox").all():
        box.check()
    page.get_by_test_id("sign-confirm").click()
    expect(page.get_by_test_id("report-state").first).to_contain_text("report signed")

    page.get_by_role("link", name="Urgent").click()
    line = page.get_by_test_id("urgent-row")
    expect(line).to_have_attribute("data-state", "closed")
    expect(line).to_contain_text("the report is signed")
    for stop in ("received", "read", "raised", "shown", "acknowledged", "signed"):
        expect(line.locator(f"[data-stop={stop}]")).not_to_contain_text("–")
    shoot(page, "triage-3-urgent")

    (body,) = pager[1]
    said = json.loads(body)
    assert (said["finding"], said["step"], said["simulated"]) == ("Intracranial hemorrhage", 0, True)
    assert not [word for word in ("Simulated^", "HEAD-100", "H100") if word in body.decode()]
    with house.database.read() as session:
        study = session.scalars(select(Study).where(Study.AccessionNumber == "H100")).one()
        read = session.scalars(select(ReadingRow.state).where(ReadingRow.study_id == study.id)).all()
    assert said["study"] == f"/study/{study.id}"
    assert read == ["found"]


def test_the_simulated_day(settings: Settings, tab: Page) -> None:
    with web_running(settings) as database:
        with database.write() as session:
            create_account(session, "rada", PASSWORD, Role.RADIOLOGIST)
        pages = f"http://127.0.0.1:{settings.web_port}"
        tab.goto(f"{pages}/urgent")
        sign_in(tab)
        expect(tab.get_by_test_id("urgent-empty")).to_be_visible()
        shoot(tab, "day-0-no-urgent")
        tab.get_by_test_id("to-simulated-day").click()
        expect(tab.get_by_test_id("day-honest")).to_contain_text("Simulated")
        tab.get_by_test_id("day-days").fill("30")
        tab.get_by_test_id("day-run").click()
        expect(tab.get_by_test_id("day-group")).to_have_count(6, timeout=60_000)
        expect(tab.get_by_test_id("day-line")).to_have_count(4)
        words = tab.get_by_test_id("day-result")
        expect(words).to_contain_text("Studies with the finding wait")
        expect(words).to_contain_text("minutes less on average")
        expect(words).to_contain_text("minutes longer on average")
        tab.get_by_test_id("day-chart").scroll_into_view_if_needed()
        shoot(tab, "day-1-result")
        # More than can be read: said by the server, and nothing is shown in its place.
        expect(tab.get_by_test_id("day-stale")).to_have_count(0)
        tab.get_by_test_id("day-radiologists").fill("1")
        expect(tab.get_by_test_id("day-stale")).to_be_visible()
        tab.get_by_test_id("day-run").click()
        expect(tab.get_by_role("alert").filter(has_text="grow")).to_be_visible()
        expect(tab.get_by_test_id("day-result")).to_have_count(0)
        shoot(tab, "day-2-refused")
        sign_out(tab)
