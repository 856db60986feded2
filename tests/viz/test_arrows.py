from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from viz.arrows import arrows_scene, evenly_spread
from viz.checks import SceneError

if TYPE_CHECKING:
    from lpbf_dataset import Case


def test_chosen_points_are_far_from_each_other_and_near_to_all() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (2000, 3)) * (1, 1, 0)
    chosen = evenly_spread(points, 1.0, 100)
    assert 50 < len(chosen) < 150
    assert pdist(points[chosen]).min() > 0.0999
    distances = np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(axis=1)
    assert distances.max() < 0.1


def test_few_points_are_all_chosen() -> None:
    assert evenly_spread(np.eye(3), 1.0, 100).tolist() == [0, 1, 2]


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_any_displacement_can_be_drawn(tilted_bar: Case, scale: float) -> None:
    moved = np.float32(scale) * tilted_bar.displacement
    case = replace(tilted_bar, variables={**tilted_bar.variables, "displacement": moved})
    plotter = arrows_scene(case, size=(200, 150))
    assert plotter.screenshot(return_img=True).std() > 5
    plotter.close()


def test_a_displacement_that_is_not_finite_is_refused(tilted_bar: Case) -> None:
    moved = np.full_like(tilted_bar.displacement, np.nan)
    case = replace(tilted_bar, variables={**tilted_bar.variables, "displacement": moved})
    with pytest.raises(SceneError, match="displacement of case tilted_bar cannot be drawn"):
        arrows_scene(case)
