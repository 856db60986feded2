"""What sets a part apart from the cases of a training set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import trimesh

from lpbf_dataset.curation.applicability import Applicability
from lpbf_dataset.curation.shape import shape_descriptor
from lpbf_dataset.curation.statistics import mesh_statistics
from lpbf_dataset.simulation.part_case import mesh_part
from lpbf_dataset.simulation.settings import SimulationSettings

if TYPE_CHECKING:
    import lpbf_dataset as lpbf

SETTINGS = SimulationSettings(layers_per_cell=25)


def block(*extents: float) -> lpbf.Case:
    return mesh_part("block", trimesh.creation.box(extents=extents), SETTINGS, features=False).case


@pytest.fixture(scope="module")
def blocks():
    """Return what is known of blocks from 12 to 20 mm, a step of 2 mm apart."""
    cases = [block(side, side, 8.0) for side in (12.0, 14.0, 16.0, 18.0, 20.0)]
    table = pd.DataFrame([mesh_statistics(case.variables) for case in cases])
    ranges = {
        name: (float(table[name].min()), float(table[name].max())) for name in ("nodes", "max_z", "volume")
    }
    shapes = np.array([shape_descriptor(case.points, case.cells) for case in cases])
    return Applicability(ranges, (20.0, 20.0, 8.0), tuple(f"block_{index}" for index in range(5)), shapes)


def test_a_part_among_the_training_cases_has_no_remarks(blocks):
    assert blocks.remarks(block(16.0, 16.0, 8.0)) == ()


def test_each_remark_has_its_figures(blocks):
    remarks = blocks.remarks(block(40.0, 8.0, 12.0))
    assert any(
        remark.startswith("height of the part above the plate 12 mm: the training cases have 8 to 8 mm")
        for remark in remarks
    )
    assert "size 40 x 8 x 12 mm: the training cases fill a box of 20 x 20 x 8 mm" in remarks
    (shape,) = (remark for remark in remarks if remark.startswith("shape unlike"))
    assert "block_" in shape
    assert "95%" in shape


def test_good_cells_are_never_too_good():
    few = Applicability({"mean_aspect_ratio": (2.0, 3.0)}, None, (), np.empty((0, 52)))
    assert few.remarks(block(32.0, 32.0, 8.0)) == ()
    assert "aspect ratio" in few.remarks(block(8.0, 8.0, 8.0))[0]


def test_it_survives_json(blocks):
    again = Applicability.from_json(json.loads(json.dumps(blocks.to_json())))
    assert again.ranges == blocks.ranges
    assert again.extent == blocks.extent
    assert again.case_ids == blocks.case_ids
    np.testing.assert_allclose(again.descriptors, blocks.descriptors, atol=1e-5)


@pytest.mark.parametrize("values", [{}, {"ranges": [], "extent": None, "shapes": {}}, {"ranges": {}}])
def test_anything_else_is_refused(values):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Applicability.from_json(values)
