from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from viz.checks import SceneError
from viz.deviation import Shape, deviation_scene

if TYPE_CHECKING:
    import pyvista as pv


def test_one_range_one_camera_one_exaggeration(skin: pv.PolyData) -> None:
    moved = np.asarray(skin["displacement"])
    shapes = [
        Shape("as printed", skin.points + moved, moved[:, 2]),
        Shape("compensated", skin.points - 0.5 * moved, -0.5 * moved[:, 2]),
    ]
    plotter = deviation_scene(skin, shapes, "part bar.stl", warp=20.0, size=(400, 200))
    panels = [plotter.renderers[plotter.renderers.loc_to_index((1, column))] for column in (0, 1)]
    surfaces = [panel.actors[next(iter(panel.actors))].mapper for panel in panels]
    assert [mapper.scalar_range for mapper in surfaces] == [pytest.approx((-0.05, 0.05))] * 2
    # 20 times 0.05 mm up on the right; half of that down.
    assert [mapper.dataset.bounds.z_max for mapper in surfaces] == pytest.approx([4.0, 3.5])
    panels[0].camera.position = (1.0, 2.0, 3.0)
    assert panels[1].camera.position == (1.0, 2.0, 3.0)
    plotter.close()


def test_shapes_that_do_not_belong_to_the_nominal_one_are_refused(skin: pv.PolyData) -> None:
    still = np.zeros(skin.n_points)
    with pytest.raises(SceneError, match=r"as printed, bar\.stl: a point and a deviation are due"):
        deviation_scene(skin, [Shape("as printed", skin.points[1:], still)], "bar.stl")
    with pytest.raises(SceneError, match=r"deviation of as printed of bar\.stl cannot be drawn"):
        deviation_scene(skin, [Shape("as printed", skin.points, still + np.nan)], "bar.stl")
