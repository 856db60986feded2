from __future__ import annotations

import numpy as np
import pytest
import pyvista as pv

from viz.camera import look_at

BOX = np.array([[x, y, z] for x in (-5, 30) for y in (0, 4) for z in (0, 60)], np.float32)


def in_panel(plotter: pv.Plotter, points: np.ndarray) -> np.ndarray:
    """Return positions in the picture by VTK's own projection, (n, 2), from 0 to 1."""
    matrix = plotter.camera.GetCompositeProjectionTransformMatrix(
        plotter.window_size[0] / plotter.window_size[1], -1, 1
    )
    transform = pv.array_from_vtkmatrix(matrix)
    projected = np.column_stack([points, np.ones(len(points))]) @ transform.T
    return (projected[:, :2] / projected[:, 3:] + 1) / 2


@pytest.mark.parametrize("size", [(900, 600), (400, 1000)])
@pytest.mark.parametrize("points", [BOX, BOX[:, [2, 1, 0]]])
def test_points_fill_the_frame_and_stay_inside(size: tuple[int, int], points: np.ndarray) -> None:
    frame = (0.1, 0.2, 0.8, 0.9)
    plotter = pv.Plotter(off_screen=True, window_size=list(size))
    look_at(plotter.renderer, points, frame)
    seen = in_panel(plotter, points)
    plotter.close()

    low, high = np.array(frame[:2]), np.array(frame[2:])
    assert (seen > low - 1e-6).all()
    assert (seen < high + 1e-6).all()
    assert np.max((seen.max(axis=0) - seen.min(axis=0)) / (high - low)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose((seen.max(axis=0) + seen.min(axis=0)) / 2, (low + high) / 2, atol=1e-6)


def test_z_is_up_and_x_runs_to_the_right() -> None:
    plotter = pv.Plotter(off_screen=True, window_size=[600, 600])
    look_at(plotter.renderer, BOX, (0, 0, 1, 1))
    origin, x, y, z = in_panel(plotter, np.concatenate([np.zeros((1, 3)), np.eye(3)]))
    plotter.close()
    assert z[0] == pytest.approx(origin[0])
    assert z[1] > origin[1]
    assert x[0] > origin[0]
    assert y[1] > origin[1]
