"""Fixtures every test may use."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("lpbf_dataset", "flare", "baselines", "pipelines", "viz")

# Runs kernels for GPUs on any machine; to be set before anything imports triton, as torch.compile does.
os.environ.setdefault("TRITON_INTERPRET", "1")

SHARED_DATA = Path(os.environ.get("LPBF_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option to store what is drawn instead of comparing it."""
    parser.addoption(
        "--update-references",
        action="store_true",
        help="store the pictures of tests/viz as they are drawn now",
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data beside the checkout; required in CI."""
    if SHARED_DATA.is_dir():
        return SHARED_DATA
    message = f"real data not found at {SHARED_DATA}; set LPBF_SHARED_DATA to its folder"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def step2(shared_data: Path) -> Path:
    """Return the folder of the one real Netfabb case."""
    return shared_data / "netfabb" / "step2"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo the logging that a command sets up: its stream is gone with the test."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.NOTSET)
