"""The page Norms in Chromium: FreeSurfer's files of a made-up person, the map, a region by keyboard, its curve."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_house import PASSWORD, shoot, sign_in, web_running
from freesurfer_support import stats_files, typical
from playwright.sync_api import Page, expect

from readingroom.access.accounts import create_account
from readingroom.core.config import Settings
from readingroom.core.permissions import Role

pytestmark = [pytest.mark.tools, pytest.mark.slow]

ILL = {
    "Left_Hippocampus": -3.1, "Right_Hippocampus": -2.4, "Left_Amygdala": -2.2, "Right_Amygdala": -1.6,
    "Left_Inf_Lat_Vent": 2.8, "Right_Inf_Lat_Vent": 2.2, "Left_Lateral_Ventricle": 1.6, "Right_Lateral_Ventricle": 1.5,
    "lh_entorhinal_thickness": -3.2, "rh_entorhinal_thickness": -2.3, "lh_parahippocampal_thickness": -2.1,
    "lh_inferiorparietal_thickness": -2.0, "lh_precuneus_thickness": -1.7, "rh_superiorfrontal_thickness": 1.2,
}  # fmt: skip


@pytest.fixture
def pages(settings: Settings) -> Iterator[str]:
    with web_running(settings) as database:
        with database.write() as session:
            create_account(session, "rada", PASSWORD, Role.RADIOLOGIST)
        yield f"http://127.0.0.1:{settings.web_port}"


def test_the_map_the_region_and_the_curve(pages: str, tab: Page, tmp_path: Path) -> None:
    tab.goto(f"{pages}/norms")
    sign_in(tab, "rada")
    expect(tab.get_by_test_id("norms-empty")).to_be_visible()
    shoot(tab, "norms-empty")
    files = []
    for name, text in stats_files(typical(-0.2, 75, **ILL)).items():
        (tmp_path / name).write_text(text, "utf-8")
        files.append(tmp_path / name)
    tab.get_by_test_id("norms-files").set_input_files(files)
    expect(tab.get_by_test_id("norms-ask")).to_be_disabled()
    tab.get_by_test_id("norms-age").fill("75")
    tab.get_by_test_id("norms-sex").select_option("F")
    sent: list[str] = []
    tab.on("request", lambda request: sent.append(request.post_data or ""))
    tab.get_by_test_id("norms-ask").click()
    expect(tab.get_by_test_id("norms-region")).to_contain_text("hippocampus, volume")
    expect(tab.get_by_test_id("norm-curve")).to_be_visible()
    expect(tab.get_by_test_id("norms-probability")).to_contain_text("probability of CDR above 0")
    expect(tab.get_by_test_id("norms-notes")).to_contain_text("81 healthy people of OASIS-1")
    assert any("aparc.annot" in body for body in sent)
    assert not [body for body in sent if "PLANTED" in body]
    expect(tab.get_by_test_id("brain-map")).to_contain_text("−3.2")
    tab.set_viewport_size({"width": 1440, "height": 1700})
    shoot(tab, "norms-map")

    # By keyboard: into a view, then from region to region.
    tab.get_by_role("group", name="Deep structures").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_test_id("norms-region")).to_contain_text("left lateral ventricle, volume")
    tab.get_by_test_id("norms-volume").click()
    tab.locator('[data-region="lh_entorhinal_volume"]').first.click()
    expect(tab.get_by_test_id("norms-region")).to_contain_text("left entorhinal, volume")
    shoot(tab, "norms-volume")

    # Outside the ages of the norms there is no number, and the reason stands there.
    tab.get_by_test_id("norms-age").fill("99")
    tab.get_by_test_id("norms-ask").click()
    expect(tab.get_by_test_id("norms-none")).to_contain_text("hold from")
    shoot(tab, "norms-none")
    tab.get_by_test_id("norms-files").set_input_files([__file__])
    tab.get_by_test_id("norms-ask").click()
    expect(tab.get_by_role("alert")).to_contain_text("no aseg.stats")
    shoot(tab, "norms-refused")
