"""The viewer as a person meets it: in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.builds import GrowingBar, write_builds
from tests.viz.blocks import Blocks
from tests.viz.web.pages import (
    coloured,
    complaints,
    find,
    requested_hosts,
    wait,
    wait_for_change,
    wait_until_still,
)
from viz.contents import Look
from viz.html import scene_html
from viz.live import LiveScene
from viz.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[3]
SERVER = """
from viz.rendering import prepare_offscreen
prepare_offscreen()
from tests.viz.blocks import Blocks
from viz.live import LiveScene
from viz.viewer import Viewer
from viz.web import serve
serve(Viewer(Blocks(), LiveScene((800, 600))), port=0)
"""


STEP_SERVER = """
import sys
from viz.rendering import prepare_offscreen
prepare_offscreen()
from lpbf_dataset import open_dataset
from viz.contents import Look
from viz.live import LiveScene
from viz.subjects import BuildSubject
from viz.viewer import Viewer
from viz.web import serve
known = lambda table: range(len(table) - 1)
half = lambda case: ({"displacement_z": 0.5 * step.scalar("displacement_z")} for step in case.steps[:-1])
subject = BuildSubject("a run", open_dataset(sys.argv[1]), ("displacement_z",), known, half)
serve(Viewer(subject, LiveScene((800, 600)), look=Look(compare=True)), port=0)
"""


@contextmanager
def served(*command: str) -> Iterator[str]:
    """Give the address that a process of its own serves a viewer at."""
    process = subprocess.Popen(
        [sys.executable, "-c", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield next(word for word in said.split() if word.startswith("http"))
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Return where blocks are served."""
    with served(SERVER) as where:
        yield where


@pytest.fixture
def view(browser: Chrome, address: str) -> WebElement:
    """Return the picture on the freshly loaded page."""
    browser.get("about:blank")
    complaints(browser)
    requested_hosts(browser)
    browser.get(address)
    shown = find(browser, "main")
    wait_until_still(browser, shown)
    return shown


def listed_cases(browser: Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, ".cases .v-list-item")


def choose(browser: Chrome, selector: str, text: str) -> None:
    """Choose from a list that opens by a click."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", find(browser, selector))
    field = browser.find_element(
        By.XPATH, f"//*[@id='{selector[1:]}']/ancestor::*[contains(@class, 'v-field')][1]"
    )
    field.click()
    option = (
        f"//*[contains(@class, 'v-overlay--active')]//*[contains(@class, 'v-list-item-title')][.='{text}']"
    )
    wait(browser, lambda: [e for e in browser.find_elements(By.XPATH, option) if e.is_displayed()])
    browser.find_element(By.XPATH, option).click()
    wait(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, ".v-overlay--active .v-list"))


def test_case_field_and_warp_change_the_picture(browser: Chrome, view: WebElement, address: str) -> None:
    first = wait_until_still(browser, view)
    assert coloured(first) > 0.05

    find(browser, "#case-search").send_keys("SEC")
    wait(browser, lambda: [item.text for item in listed_cases(browser)] == ["second"])
    listed_cases(browser)[0].click()
    wait(browser, lambda: find(browser, "#case").text.startswith("second, 225 nodes"))
    second = wait_for_change(browser, view, first)

    choose(browser, "#field", "von mises stress")
    stress = wait_for_change(browser, view, second)
    assert not browser.find_elements(By.CSS_SELECTOR, "#component")

    find(browser, ".warp .v-slider-thumb").send_keys(Keys.HOME)
    wait_for_change(browser, view, stress)

    assert complaints(browser) == []
    assert requested_hosts(browser) <= {address.rstrip("/"), address.rstrip("/").replace("http", "ws")}


def test_comparison_cut_and_edges(browser: Chrome, view: WebElement) -> None:
    before = wait_until_still(browser, view)
    find(browser, "#compare").click()
    three = wait_for_change(browser, view, before)
    third = three.shape[1] // 3
    assert all(coloured(three[:, i * third : (i + 1) * third]) > 0.01 for i in range(3))
    find(browser, "#compare").click()
    wait_for_change(browser, view, three)
    before = wait_until_still(browser, view)
    browser.find_element(By.XPATH, "//*[@id='cut']//button[normalize-space(.)='x']").click()
    cut = wait_for_change(browser, view, before)
    find(browser, "#edges").click()
    wait_for_change(browser, view, cut)
    assert complaints(browser) == []


def test_the_slider_goes_through_the_steps_of_a_prediction(browser: Chrome, tmp_path: Path) -> None:
    store = write_builds(tmp_path / "builds.zarr", GrowingBar("x", layers=2))
    with served(STEP_SERVER, str(store)) as where:
        browser.get(where)
        view = find(browser, "main")
        last = wait_until_still(browser, view)
        third = last.shape[1] // 3
        assert all(coloured(last[:, i * third : (i + 1) * third]) > 0.01 for i in range(3))
        body = browser.find_element(By.TAG_NAME, "body")
        assert "cooled down on the plate, z = 2 mm" in body.text
        find(browser, ".step .v-slider-thumb").send_keys(Keys.HOME)
        wait(browser, lambda: "layer group 1 of 2, deposited, z = 1 mm" in body.text)
        first = wait_for_change(browser, view, last)
        find(browser, ".step .v-slider-thumb").send_keys(Keys.RIGHT)
        wait(browser, lambda: "layer group 1 of 2, dwelt, z = 1 mm" in body.text)
        wait_for_change(browser, view, first)
        assert complaints(browser) == []
        browser.get("about:blank")


def test_a_click_reads_a_node_and_a_drag_turns_the_part(browser: Chrome, view: WebElement) -> None:
    ActionChains(browser).move_to_element(view).click().perform()
    readings = find(browser, "#readings").text
    assert "displacement x, y, z [mm]" in readings
    before = wait_until_still(browser, view)
    ActionChains(browser).move_to_element(view).click_and_hold().move_by_offset(90, 20).release().perform()
    wait_for_change(browser, view, before)
    assert find(browser, "#readings").text == readings
    assert complaints(browser) == []


def test_the_picture_can_be_saved(browser: Chrome, view: WebElement, tmp_path: Path) -> None:
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    find(browser, "#screenshot").click()
    wait(browser, lambda: list(tmp_path.glob("*.png")))
    [saved] = tmp_path.glob("*.png")
    image = np.asarray(Image.open(saved).convert("RGB"), np.int16)
    assert 600 < image.shape[1] <= view.size["width"]
    assert coloured(image) > 0.05
    assert complaints(browser) == []


def test_a_case_that_cannot_be_read_is_said(browser: Chrome, view: WebElement) -> None:
    find(browser, "#case-search").send_keys(Keys.CONTROL, "a", Keys.NULL, "broken")
    wait(browser, lambda: [item.text for item in listed_cases(browser)] == ["broken"])
    before = find(browser, "#case").text
    listed_cases(browser)[0].click()
    wait(browser, lambda: "it is cut off" in browser.find_element(By.TAG_NAME, "body").text)
    wait(browser, lambda: find(browser, "#case").text == before)
    assert complaints(browser) == []


@pytest.mark.parametrize("compare", [False, True])
def test_an_exported_page_draws_by_itself(browser: Chrome, tmp_path: Path, *, compare: bool) -> None:
    page = tmp_path / "part.html"
    with closing(LiveScene((800, 600))) as scene:
        Viewer(Blocks(), scene, look=Look(compare=compare))
        page.write_text(scene_html(scene))
    browser.get(page.as_uri())
    complaints(browser)
    requested_hosts(browser)
    browser.refresh()
    body = find(browser, "body")
    image = wait_until_still(browser, body)
    panels = 3 if compare else 1
    width = image.shape[1] // panels
    # Between the captions above and the colour bars below.
    assert all(coloured(image[150:500, i * width : (i + 1) * width]) > 0.03 for i in range(panels))
    assert "displacement z, case first" in body.text
    assert "displacement z [mm]" in body.text
    # The first movement after a rest turns nothing.
    drag = ActionChains(browser, duration=20).move_to_element(body).click_and_hold()
    for _ in range(5):
        drag.move_by_offset(16, 2)
    drag.release().perform()
    wait_for_change(browser, body, image)
    assert requested_hosts(browser) == set()
    assert complaints(browser) == []
