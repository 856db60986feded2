from __future__ import annotations

import logging
import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipelines import thumbnails as for_reports
from viz import rendering
from viz.thumbnails import SIZE, thumbnail


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"), np.float64)


def test_the_part_fills_the_picture_and_shows_the_field(tilted_bar):
    image = pixels(thumbnail(tilted_bar))
    assert image.shape == (SIZE[1], SIZE[0], 3)
    drawn = (image < 250).any(axis=-1)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    assert max(np.ptp(rows) / SIZE[1], np.ptp(columns) / SIZE[0]) > 0.8
    # The left end goes down and the right end up: blue and red.
    blueness = image[..., 2] - image[..., 0]
    left, right = blueness[:, : SIZE[0] // 2], blueness[:, SIZE[0] // 2 :]
    assert left.mean() > 1 > -1 > right.mean()


def test_it_is_the_same_each_time(tilted_bar):
    assert thumbnail(tilted_bar) == thumbnail(tilted_bar)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e6])
def test_any_displacement_can_be_drawn(tilted_bar, scale):
    displacement = np.float32(scale) * tilted_bar.displacement
    case = replace(tilted_bar, variables={**tilted_bar.variables, "displacement": displacement})
    assert pixels(thumbnail(case)).shape[:2] == SIZE[::-1]


def test_another_field_and_size(tilted_bar):
    assert pixels(thumbnail(tilted_bar, "von_mises_stress", (64, 48))).shape == (48, 64, 3)
    with pytest.raises(KeyError, match="no field named 'colour'"):
        thumbnail(tilted_bar, "colour")


class TestForReports:
    def test_pictures_where_something_can_draw(self):
        assert for_reports.thumbnail_or_none() is thumbnail

    def test_none_without_the_extra(self, monkeypatch, caplog):
        monkeypatch.delitem(sys.modules, "viz.thumbnails")
        monkeypatch.setitem(sys.modules, "pyvista", None)
        with caplog.at_level(logging.INFO, logger="pipelines"):
            assert for_reports.thumbnail_or_none() is None
        assert "the report goes without pictures" in caplog.text

    def test_none_without_opengl(self, monkeypatch, caplog):
        def refuse():
            raise rendering.RenderingError("no OpenGL to draw with")

        monkeypatch.setattr(rendering, "prepare_offscreen", refuse)
        with caplog.at_level(logging.INFO, logger="pipelines"):
            assert for_reports.thumbnail_or_none() is None
        assert "no OpenGL to draw with" in caplog.text
