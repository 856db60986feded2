from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from viz.checks import SceneError
from viz.scenes import field_scene

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

    Render = Callable[[pv.Plotter], NDArray[np.float64]]

SIZE = (480, 270)


def middle(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of the picture that holds neither heading, axes nor bar."""
    height, width, _ = image.shape
    return image[height // 8 : -height // 8, width // 6 : int(0.8 * width)]


def redness(image: NDArray[np.float64]) -> float:
    """Mean of red minus blue, positive where the diverging map shows positive values."""
    return float((image[..., 0] - image[..., 2]).mean())


def texts(plotter: pv.Plotter) -> list[str]:
    """Return what is written on a scene."""
    actors = [actor for renderer in plotter.renderers for actor in renderer.actors.values()]
    return [actor.input for actor in actors if hasattr(actor, "input") and isinstance(actor.input, str)]


def test_hue_tells_the_sign_of_a_displacement(tilted_bar: Case, picture: Render) -> None:
    image = middle(picture(field_scene(tilted_bar, "displacement_z", size=SIZE)))
    third = image.shape[1] // 3
    assert redness(image[:, :third]) < -0.05
    assert redness(image[:, -third:]) > 0.05


def test_the_sign_turns_the_hues_around(tilted_bar: Case, picture: Render) -> None:
    flipped = replace(
        tilted_bar, variables={**tilted_bar.variables, "displacement": -tilted_bar.displacement}
    )
    image = middle(picture(field_scene(flipped, "displacement_z", warp=0.0, size=SIZE)))
    third = image.shape[1] // 3
    assert redness(image[:, :third]) > 0.05
    assert redness(image[:, -third:]) < -0.05


def test_zero_is_neutral(tilted_bar: Case, picture: Render) -> None:
    image = picture(field_scene(tilted_bar, "displacement_x", size=SIZE))
    part = middle(image)
    assert np.ptp(part, axis=2).max() < 0.1
    assert part.std() > 0.05


def test_the_page_is_white_and_the_part_fills_a_good_deal_of_it(step2_case: Case, picture: Render) -> None:
    image = picture(field_scene(step2_case, "von_mises_stress", size=SIZE))
    assert image.shape == (SIZE[1], SIZE[0], 3)
    assert (image[:3] == 1.0).all()
    assert 0.25 < np.mean(image.min(axis=2) < 0.8) < 0.75


def test_heading_and_bar_name_field_case_split_and_units(tilted_bar: Case) -> None:
    plotter = field_scene(tilted_bar, "von_mises_stress", size=SIZE)
    written = texts(plotter)
    plotter.close()
    assert "von Mises stress, case tilted_bar (test split)" in written
    assert "von Mises stress [MPa]" in written
    assert "deformation \N{MULTIPLICATION SIGN} 20" in written


def test_the_part_is_drawn_deformed(tilted_bar: Case) -> None:
    plotter = field_scene(tilted_bar, "displacement_z", warp=50.0, size=SIZE)
    assert plotter.mesh.bounds.z_max == pytest.approx(3 + 50 * 0.05, abs=1e-5)
    plotter.close()


def test_hanging_nodes_leave_no_mark_but_the_missing_cell_edges(
    bar_with_hanging_nodes: tuple[Case, Case], picture: Render
) -> None:
    fine, mixed = (picture(field_scene(case, "displacement_z", size=SIZE)) for case in bar_with_hanging_nodes)
    changed = np.abs(fine - mixed).max(axis=2) > 0.1
    assert changed.mean() < 0.02


def test_fields_that_are_not_finite_are_refused(tilted_bar: Case) -> None:
    stress = tilted_bar.von_mises_stress.copy()
    stress[:2] = np.nan, np.inf
    broken = replace(tilted_bar, variables={**tilted_bar.variables, "von_mises_stress": stress})
    with pytest.raises(
        SceneError, match=r"von_mises_stress of case tilted_bar .* 2 of 176 values are not finite"
    ):
        field_scene(broken, "von_mises_stress")
