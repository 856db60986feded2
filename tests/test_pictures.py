"""The command that draws the pictures of the README keeps them small."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "docs" / "make_pictures.py"


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    pytest.importorskip("pyvista")
    return runpy.run_path(str(SCRIPT))


def test_a_picture_of_many_colours_is_saved_in_fewer(script, tmp_path):
    ramp = np.linspace(0, 255, 800).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 6, (500, 800, 3), dtype=np.uint8)
    image = Image.fromarray(np.minimum(ramp[None, :, None], 249) + noise)
    path = tmp_path / "images" / "ramp.png"
    script["save"](image, path)
    assert path.stat().st_size <= script["LARGEST_FILE"]
    saved = np.asarray(Image.open(path).convert("RGB"), np.int16)
    assert np.abs(saved - np.asarray(image, np.int16)).mean() < 6


def test_a_picture_of_few_colours_is_kept_as_it_is(script, tmp_path):
    image = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 1000, 3)))
    script["save"](image, tmp_path / "grey.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grey.png")), np.asarray(image))


def test_a_picture_that_stays_large_is_refused(script, tmp_path, monkeypatch):
    monkeypatch.setitem(script["save"].__globals__, "LARGEST_FILE", 1000)
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    with pytest.raises(SystemExit, match=r"noise\.png takes \d+ bytes"):
        script["save"](Image.fromarray(noise), tmp_path / "noise.png")
    assert not list(tmp_path.iterdir())


def test_the_parts_it_draws_are_of_the_sequence(script):
    parts = script["ProceduralPart"]
    names = {parts(index).name for index in range(320)}
    assert {*script["GALLERY"], script["COMPENSATED_PART"], script["VIEWED_CASE"]} <= names
