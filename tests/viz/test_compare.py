from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from viz.checks import SceneError
from viz.compare import comparison_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

    Render = Callable[[pv.Plotter], NDArray[np.float64]]

SIZE = (720, 300)
FIELD = "displacement_z"


def panels(plotter: pv.Plotter) -> list[pv.Renderer]:
    """Return the renderers of truth, prediction and error."""
    return [plotter.renderers[plotter.renderers.loc_to_index((1, column))] for column in range(3)]


def surfaces(plotter: pv.Plotter) -> list[pv.DataSetMapper]:
    return [
        next(actor.mapper for actor in panel.actors.values() if getattr(actor, "mapper", None))
        for panel in panels(plotter)
    ]


def written(plotter: pv.Plotter) -> Iterator[str]:
    for renderer in plotter.renderers:
        for actor in renderer.actors.values():
            if isinstance(getattr(actor, "input", None), str):
                yield actor.input


@pytest.fixture
def scene(tilted_bar: Case) -> Iterator[pv.Plotter]:
    plotter = comparison_scene(tilted_bar, FIELD, {FIELD: 2.0 * tilted_bar.scalar(FIELD)}, size=SIZE)
    yield plotter
    plotter.close()


def test_truth_and_prediction_share_one_range_and_the_error_has_its_own(scene: pv.Plotter) -> None:
    # The truth ends at 0.05 mm, the prediction at twice that.
    ranges = [mapper.scalar_range for mapper in surfaces(scene)]
    assert ranges == [(-0.1, 0.1), (-0.1, 0.1), pytest.approx((-0.05, 0.05))]


def test_the_cameras_are_one(scene: pv.Plotter) -> None:
    truth, prediction, error = panels(scene)
    truth.camera.position = (1.0, 2.0, 3.0)
    assert prediction.camera.position == error.camera.position == (1.0, 2.0, 3.0)


def test_each_shape_is_its_own_and_the_error_is_on_the_true_one(scene: pv.Plotter) -> None:
    # 20 times 0.05 mm, and 20 times 0.1 mm, on top of 3 mm.
    heights = [mapper.dataset.bounds.z_max for mapper in surfaces(scene)]
    assert heights == pytest.approx([4.0, 5.0, 4.0])


def test_the_writing_states_case_split_units_and_errors(scene: pv.Plotter) -> None:
    lines = set(written(scene))
    assert {
        "displacement z, case tilted_bar (test split)",
        "truth",
        "prediction",
        "prediction \N{MINUS SIGN} truth",
        "displacement z [mm]",
        "error of displacement z [mm]",
        "deformation \N{MULTIPLICATION SIGN} 20 (in z only)",
        "relative L2 error 100.0%, largest 0.05 mm",
    } <= lines


def test_a_perfect_prediction_repeats_the_truth_beside_a_neutral_panel(
    tilted_bar: Case, picture: Render
) -> None:
    image = picture(comparison_scene(tilted_bar, FIELD, {FIELD: tilted_bar.scalar(FIELD)}, size=SIZE))
    width = SIZE[0] // 3
    # The middle of the panels, without the axes in their corners.
    truth, prediction, error = (
        image[90:175, column * width + 10 : (column + 1) * width - 10] for column in range(3)
    )
    assert np.abs(truth - prediction).mean() < 0.01
    assert np.ptp(truth, axis=2).mean() > 0.05
    assert np.ptp(error, axis=2).max() < 0.05
    assert error.std() > 0.02


def test_a_positive_error_and_a_negative_one_differ_in_hue(tilted_bar: Case, picture: Render) -> None:
    image = picture(comparison_scene(tilted_bar, FIELD, {FIELD: 0.5 * tilted_bar.scalar(FIELD)}, size=SIZE))
    error = image[90:175, 490:710]
    # The bar is predicted too high on the left (orange), too low on the right (violet).
    excess_of_red = error[..., 0] - error[..., 2]
    assert excess_of_red[:, :70].mean() > 0.05
    assert excess_of_red[:, -70:].mean() < -0.02


def test_scalars_without_displacement_are_drawn_undeformed(tilted_bar: Case) -> None:
    stress = tilted_bar.scalar("von_mises_stress")
    plotter = comparison_scene(tilted_bar, "von_mises_stress", {"von_mises_stress": stress + 1}, size=SIZE)
    assert "undeformed" in set(written(plotter))
    assert [mapper.dataset.bounds.z_max for mapper in surfaces(plotter)] == [3, 3, 3]
    plotter.close()


def test_a_prediction_that_is_not_finite_is_refused(tilted_bar: Case) -> None:
    with pytest.raises(SceneError, match="the predicted displacement_z of case tilted_bar cannot be drawn"):
        comparison_scene(tilted_bar, FIELD, {FIELD: np.full(tilted_bar.node_count, np.nan)})


def test_a_real_part_is_legible(step2_case: Case, picture: Render) -> None:
    truth = step2_case.scalar(FIELD)
    image = picture(comparison_scene(step2_case, FIELD, {FIELD: 0.9 * truth}, size=SIZE))
    assert (image[:3] == 1.0).all()
    assert 0.15 < np.mean(image.min(axis=2) < 0.9) < 0.6
