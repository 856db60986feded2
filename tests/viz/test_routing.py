from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pyvista as pv

from viz.checks import SceneError
from viz.routing import MAPS_PER_ROW, PANELS_PER_ROW, effective_rank_figure, routing_scene, spectra_figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lpbf_dataset import Case

SIZE = (480, 270)


def decaying_spectra(blocks: int, heads: int = 3, latents: int = 16) -> list[NDArray[np.float64]]:
    rates = np.linspace(0.2, 0.8, heads)[:, None]
    return [rates ** np.arange(latents) for _ in range(blocks)]


def is_drawn(figure: Figure) -> bool:
    figure.savefig(buffer := BytesIO(), format="png")
    return len(buffer.getvalue()) > 1000


@pytest.mark.parametrize("blocks", [1, PANELS_PER_ROW, PANELS_PER_ROW + 1])
def test_a_panel_for_each_block_and_a_line_for_each_head(blocks: int) -> None:
    spectra = decaying_spectra(blocks)
    figure = spectra_figure(spectra, title="a run")
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == [f"block {i + 1}" for i in range(blocks)]
    for axes, spectrum_HM in zip(panels, spectra, strict=True):
        assert axes.get_yscale() == "log"
        for line, eigenvalues_M in zip(axes.get_lines(), spectrum_HM, strict=True):
            visible = eigenvalues_M > 1e-12
            np.testing.assert_array_equal(line.get_ydata()[visible], eigenvalues_M[visible])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2", "3"]
    assert is_drawn(figure)


def test_heads_have_colours_of_their_own() -> None:
    for heads in (8, 16):
        lines = spectra_figure(decaying_spectra(1, heads)).axes[0].get_lines()
        assert len({line.get_color() for line in lines}) == heads


def test_eigenvalues_of_rounding_are_left_out() -> None:
    (line,) = spectra_figure([np.array([[1.0, 0.5, 1e-17, 0.0]])]).axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [1.0, 0.5, np.nan, np.nan])


def test_effective_ranks_and_their_mean_over_the_blocks() -> None:
    ranks_LH = np.array([[1.0, 3.0], [4.0, 8.0], [2.0, 2.0]])
    figure = effective_rank_figure(ranks_LH, num_latents=16)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_array_equal(lines["head 2"].get_ydata(), [3, 8, 2])
    np.testing.assert_array_equal(lines["mean"].get_ydata(), [2, 6, 2])
    assert set(lines["latent tokens"].get_ydata()) == {16}
    assert is_drawn(figure)


def test_the_nodes_that_a_latent_reads_are_bright(
    tilted_bar: Case, picture: Callable[[pv.Plotter], NDArray[np.float64]]
) -> None:
    weights = (tilted_bar.points[:, 0] > 0).astype(np.float32)
    image = picture(routing_scene(tilted_bar, {"latent token 1": weights}, "block 1", size=SIZE))
    part = image[SIZE[1] // 8 : -SIZE[1] // 8, SIZE[0] // 6 : int(0.8 * SIZE[0])]
    third = part.shape[1] // 3
    yellow = part[..., 0] + part[..., 1] - 2 * part[..., 2]
    assert yellow[:, -third:].mean() > yellow[:, :third].mean() + 0.1


def test_weights_are_relative_to_equal_ones_and_the_part_is_undeformed(tilted_bar: Case) -> None:
    weights = np.full(tilted_bar.node_count, 1 / tilted_bar.node_count)
    weights[0] *= 2
    plotter = routing_scene(tilted_bar, {"latent token 7": weights}, "block 2, head 1", size=SIZE)
    values = plotter.mesh["values"]
    assert values.max() == pytest.approx(2.0, rel=0.01)
    assert np.median(values) == pytest.approx(1.0, rel=0.01)
    assert plotter.mesh.bounds.z_max == pytest.approx(3.0)
    actors = [actor for renderer in plotter.renderers for actor in renderer.actors.values()]
    written = [actor.input for actor in actors if isinstance(getattr(actor, "input", None), str)]
    plotter.close()
    assert "block 2, head 1, case tilted_bar (test split)" in written
    assert "latent token 7" in written


@pytest.mark.parametrize("maps", [2, MAPS_PER_ROW, MAPS_PER_ROW + 2])
def test_maps_share_colours_and_camera(
    maps: int, tilted_bar: Case, picture: Callable[[pv.Plotter], NDArray[np.float64]]
) -> None:
    weights = {f"{i}": np.linspace(1, 1 + i, tilted_bar.node_count) for i in range(maps)}
    plotter = routing_scene(tilted_bar, weights, "block 1", size=SIZE)
    drawn = [(r, getattr(actor, "mapper", None)) for r in plotter.renderers for actor in r.actors.values()]
    panels = {r: mapper for r, mapper in drawn if isinstance(mapper, pv.DataSetMapper)}
    assert len(panels) == maps
    (limits,) = {mapper.scalar_range for mapper in panels.values()}
    assert limits[1] >= max(mapper.dataset["values"].max() for mapper in panels.values())
    first, *others = (renderer.camera for renderer in panels)
    assert all(camera is first for camera in others)
    assert picture(plotter).std() > 0.01


def test_weights_that_are_not_finite_are_refused(tilted_bar: Case) -> None:
    weights = np.full(tilted_bar.node_count, np.nan)
    with pytest.raises(SceneError, match="block 1, latent token 1 of case tilted_bar cannot be drawn"):
        routing_scene(tilted_bar, {"latent token 1": weights}, "block 1")
