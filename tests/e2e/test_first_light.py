"""The whole way through the house in a real browser: in over DICOM, read, reviewed, signed, and out to a real peer."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
from e2e_house import PASSWORD, House, wait_until
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from readingroom.access.tables import WebSession
from readingroom.archive.tables import Delivery, Instance, Study
from readingroom.core.clock import utc_now
from readingroom.imaging.simulate import write_chest_ct
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow

pytestmark = [pytest.mark.tools, pytest.mark.slow, pytest.mark.timeout(600)]


def shot(page: Page, name: str) -> None:
    """Keep a screenshot (of the simulated study only) where READINGROOM_SCREENSHOTS says, when it does."""
    folder = os.environ.get("READINGROOM_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def sign_in(page: Page, house: House) -> None:
    page.goto(house.web)
    page.get_by_test_id("sign-in-name").fill("rada")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    shot(page, "1-sign-in")
    page.get_by_test_id("sign-in-submit").click()


def test_from_storescu_to_signed_report_at_the_peer(
    house: House, page: Page, tool: Callable[[str], str], tmp_path: Path
) -> None:
    simulated = write_chest_ct(tmp_path / "in", seed=7)
    subprocess.run(
        [tool("storescu"), "-aec", "READINGROOM", "+sd", "127.0.0.1", str(house.dicom_port), str(tmp_path / "in")],
        check=True,
    )

    def study() -> Study | None:
        with house.database.read() as session:
            return session.scalars(select(Study)).first()

    wait_until(lambda: (s := study()) is not None and s.state == "read", "the study is read", 180)
    row = study()
    assert row is not None
    assert row.simulated

    sign_in(page, house)
    expect(page.get_by_test_id("research-banner").first).to_be_visible()
    expect(page.get_by_test_id("worklist-row")).to_have_count(1)
    expect(page.get_by_test_id("worklist-row").first).to_contain_text("simulated", ignore_case=True)
    shot(page, "2-worklist")
    page.get_by_test_id("worklist-row").first.click()
    page.wait_for_url(f"**/study/{row.id}**")
    findings = page.get_by_test_id("finding-item")
    expect(findings.first).to_be_visible(timeout=30_000)
    expect(page.get_by_test_id("viewport-axial")).to_be_visible()
    expect(page.get_by_test_id("reader-state").filter(has_text="lung-nodule").first).to_be_visible()
    count = findings.count()
    # The first finding is chosen when the page opens; another one is on another slice.
    before = page.get_by_test_id("slice-number").first.inner_text()
    findings.last.click()
    expect(page.get_by_test_id("slice-number").first).not_to_have_text(before)
    findings.first.click()
    expect(page.get_by_test_id("slice-number").first).to_have_text(before)
    expect(page.get_by_test_id("image-load").first).to_have_attribute("data-left", "0", timeout=90_000)
    page.wait_for_timeout(2000)
    shot(page, "3-study")
    evidence = page.locator("details.evidence").filter(has_text="Why the reader says so").first
    evidence.locator("summary").click()
    expect(evidence).to_contain_text("size: median radius in mm")
    expect(evidence).to_contain_text("operating point")
    expect(evidence).to_contain_text("second look: log-odds of the network")
    expect(page.get_by_test_id("assessment").filter(has_text="Lung-RADS").first).to_be_visible()
    shot(page, "3-evidence")

    page.get_by_test_id("finding-accept").first.click()
    expect(findings.first).to_have_attribute("data-decision", "accepted")
    for n in range(1, count):
        findings.nth(n).click()
        page.keyboard.press("r")
        if n == 1:
            shot(page, "4-reasons")
        # The eleventh reason has a letter.
        page.keyboard.press("b" if n == 1 else "1")
        page.keyboard.press("Enter")
        expect(findings.nth(n)).to_have_attribute("data-decision", "rejected")
    # On a slow line the draft that follows the last verdict comes after the dialog is open: it is waited for, not lost.
    line = page.context.new_cdp_session(page)
    throttle = {"offline": False, "latency": 1500, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", throttle)
    page.get_by_test_id("no-further-findings").first.click()
    page.get_by_test_id("open-sign").first.click()
    page.get_by_test_id("sign-dialog").wait_for()
    shot(page, "5-sign")
    for box in page.get_by_role("dialog").get_by_role("checkbox").all():
        box.check()
    # Signed in since the morning: signing asks once more who is there, and goes on.
    with house.database.write() as session:
        session.execute(update(WebSession).values(proved_at=utc_now() - timedelta(hours=5)))
    page.get_by_test_id("sign-confirm").click()
    line.send("Network.emulateNetworkConditions", throttle | {"latency": 0})
    page.get_by_test_id("proof-text").fill(PASSWORD)
    shot(page, "5-proof")
    page.get_by_test_id("proof-submit").click()
    expect(page.get_by_test_id("report-state").first).to_contain_text("report signed")

    def all_accepted() -> bool:
        with house.database.read() as session:
            deliveries = session.scalars(select(Delivery)).all()
            return len(deliveries) >= 3 and all(d.state == "accepted" for d in deliveries)

    wait_until(all_accepted, "SR, SEG and PDF are delivered", 60)
    page.wait_for_timeout(3000)
    shot(page, "6-signed")

    # An addendum is written, stored and sent like the report, and the page tells.
    page.get_by_test_id("addendum-text").fill("Compared with 2019: no change.")
    page.get_by_test_id("addendum-add").click()
    expect(page.get_by_text("Addendum 1")).to_be_visible()
    sent = page.get_by_test_id("delivery").filter(has_text="addendum 1").filter(has_text="accepted")
    expect(sent).to_have_count(2, timeout=90_000)
    shot(page, "7-addendum")

    with house.database.read() as session:
        report = session.scalars(select(ReportRow)).one()
        written = {i.SOPInstanceUID for i in session.scalars(select(Instance).where(Instance.origin == "report"))}
    assert report.state == "written"
    delivered = {pydicom.dcmread(path).SOPInstanceUID: path for path in house.destination.iterdir()}
    assert set(delivered) == written

    dciodvfy = shutil.which("dciodvfy", path=str(Path(os.sys.executable).parent))  # type: ignore[attr-defined]
    assert dciodvfy
    for path in delivered.values():
        out = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True).stderr
        assert [line for line in out.splitlines() if line.startswith("Error")] == [], path
    sr = next(ds for path in delivered.values() if (ds := pydicom.dcmread(path)).Modality == "SR")
    assert sr.VerificationFlag == "VERIFIED"
    assert sr.AccessionNumber == row.AccessionNumber
    document = hd.sr.Comprehensive3DSR.from_dataset(sr)
    groups = (
        document.content.get_volumetric_roi_measurement_groups() + document.content.get_planar_roi_measurement_groups()
    )
    assert len(groups) == 1
    seg_path = next(path for path in delivered.values() if pydicom.dcmread(path).Modality == "SEG")
    assert hd.seg.segread(seg_path).number_of_segments == 1

    # The accepted finding is one of the nodules that were put there.
    with house.database.read() as session:
        reading = session.scalars(select(ReadingRow).where(ReadingRow.reader == "lung-nodule")).one()
    assert reading.body is not None
    place = reading.body["findings"][0]["place"]["position_lps_mm"]
    distances = [sum((a - b) ** 2 for a, b in zip(place, n.lps_mm, strict=True)) ** 0.5 for n in simulated.nodules]
    assert min(distances) < 5.0


def test_no_planted_name_in_logs_metrics_or_urls(house: House) -> None:
    """After the journey above (same session-wide house) its patient is in the index and the store and nowhere else."""
    with house.database.read() as session:
        row = session.scalars(select(Study)).first()
    assert row is not None
    log = house.log()
    assert log
    for identifier in (row.patient.PatientName, row.patient.PatientName.split("^")[0], row.patient.PatientID):
        assert identifier not in log
