"""What a person sees and does on a page, by selenium."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 20
"""Seconds: far more than anything takes on an idle machine."""


def wait(browser: Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, PATIENCE, poll_frequency=0.1).until(lambda _: condition())


def find(browser: Chrome, selector: str) -> WebElement:
    """Return an element once it is there."""
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, selector))
    return browser.find_element(By.CSS_SELECTOR, selector)


def picture(element: WebElement) -> NDArray[np.int16]:
    """Return what is drawn at an element: (height, width, 3)."""
    return np.asarray(Image.open(BytesIO(element.screenshot_as_png)).convert("RGB"), np.int16)


def coloured(image: NDArray[np.int16]) -> float:
    """Share of an image that is neither grey nor white."""
    return float((np.ptp(image, axis=2) > 40).mean())


def wait_until_still(browser: Chrome, element: WebElement) -> NDArray[np.int16]:
    """Return a picture with something on it that has stopped changing."""
    last = [picture(element)]

    def is_still() -> bool:
        now = picture(element)
        same = np.array_equal(now, last[0])
        last[0] = now
        return same and coloured(now) > 0.01

    wait(browser, is_still)
    return last[0]


def wait_for_change(browser: Chrome, element: WebElement, before: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the picture that comes after another."""
    wait(browser, lambda: not np.array_equal(picture(element), before))
    return wait_until_still(browser, element)


def requested_hosts(browser: Chrome) -> set[str]:
    """Return ``scheme://host`` of everything that was fetched since the last call."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    return {"/".join(url.split("/")[:3]) for url in urls if url.startswith(("http", "ws", "//"))}


def complaints(browser: Chrome) -> list[str]:
    """Return the errors on the console since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
