from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import pyvista as pv
from PIL import Image

import lpbf_dataset as lpbf
import pipelines.runs.run  # noqa: F401  (before OpenGL: the LLVM of Triton does not come after that of Mesa)
from lpbf_dataset.export import export_vtu
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.store.writer import StoreWriter
from pipelines import view
from tests.builds import GrowingBar, write_builds
from viz.live import LiveScene
from viz.subjects import StoreSubject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from lpbf_dataset.steps import CaseStep
    from lpbf_dataset.store.reader import Dataset

SPLITS = {"21477_babb9c34_4": "train", "7": "val", "55199_4d57661f_0": "test"}
FIELDS = ("displacement", "von_mises_stress", "temperature")
SMALL = ["--size", "320x240"]


def block(case_id: str) -> lpbf.Case:
    """Return a bar of four unit cells along x that rises to the right."""
    layers = np.array([(0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1)], np.float32)
    points = np.concatenate([layers + np.float32([x, 0, 0]) for x in range(5)])
    first = np.array([0, 4, 5, 1, 3, 7, 6, 2], np.int32)
    cells = np.stack([first + 4 * x for x in range(4)]).astype(np.int32)
    displacement = np.zeros_like(points)
    displacement[:, 2] = 0.01 * (points[:, 0] - 2)
    variables = {
        "points": points,
        "cells": cells,
        "edges": unique_edges(cells, len(points)),
        "displacement": displacement,
        "von_mises_stress": points[:, 0] * 100,
        "temperature": np.full(len(points), 25, np.float32),
    }
    return lpbf.Case(case_id, case_id, "synthetic", variables)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of three cases, one in each split."""
    path = tmp_path_factory.mktemp("view") / "lpbf.zarr"
    with StoreWriter(path, FIELDS) as writer:
        for case_id in SPLITS:
            writer.append(block(case_id))
        writer.finish(SPLITS, pd.DataFrame({"case_id": list(SPLITS)}))
    return path


@dataclass
class HalfRight:
    """A run whose model predicts half of the true displacement."""

    path: Path
    targets: tuple[str, ...] = ("displacement_z", "displacement_x")
    description = SimpleNamespace(task=None)

    def dataset(self) -> Dataset:
        return lpbf.open_dataset(self.path)

    def predict(self, case: lpbf.Case) -> NDArray[np.float32]:
        return np.column_stack([0.5 * case.scalar(name) for name in self.targets])


class HalfRightAtSteps(HalfRight):
    """A run whose model predicts half of what is true at every step, up to the removal."""

    description = SimpleNamespace(task=SimpleNamespace(across_removal=False))

    def roll_out(self, case: lpbf.Case) -> Iterator[tuple[CaseStep, NDArray[np.float32]]]:
        for step in case.steps[:-1]:
            yield step, self.predict(step)


@pytest.fixture
def trained(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run on the store."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").touch()
    monkeypatch.setattr("pipelines.runs.run.Run.open", lambda path: HalfRight(store))
    return folder


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of a growing bar with its 6 steps."""
    return write_builds(tmp_path_factory.mktemp("view") / "builds.zarr", GrowingBar("x", layers=2))


@pytest.fixture
def trained_on_steps(builds: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run on the steps of `builds`."""
    monkeypatch.setattr("pipelines.runs.run.Run.open", lambda path: HalfRightAtSteps(builds))
    return trained


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that what is written on the next picture will be added to."""
    lines: list[str] = []
    image = LiveScene.image

    def record(self: LiveScene) -> NDArray[np.uint8]:
        for content in self.contents:
            titles = [content.colouring.title] if content.colouring else []
            lines.extend([content.heading, content.caption, content.note, *titles])
        return image(self)

    monkeypatch.setattr(LiveScene, "image", record)
    return lines


def view_code(*arguments: object) -> int | str | None:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        view.main([str(argument) for argument in arguments])
    return exit_info.value.code


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs the command with a mistake and gives the line that says so."""

    def run(*arguments: object) -> str:
        assert view_code(*arguments) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    return run


def test_a_screenshot_of_the_first_case(
    store: Path, tmp_path: Path, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "deep" / "out.png"
    assert view_code(store, "--screenshot", image, *SMALL) == 0
    assert pv.read(image).dimensions == (320, 240, 1)
    assert np.asarray(pv.read(image).point_data["PNGImage"]).std() > 10
    assert "displacement z, case 21477_babb9c34_4 (train split)" in written
    assert capsys.readouterr().out == f"wrote {image}\n"


def test_quiet_is_silent(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert view_code(store, "-q", "--screenshot", tmp_path / "out.png", *SMALL) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("case", "shown"),
    [
        ("55199_4d57661f_0", "case 55199_4d57661f_0 (test split)"),
        ("2", "case 55199_4d57661f_0 (test split)"),
        ("0", "case 21477_babb9c34_4 (train split)"),
        # An id comes before a position.
        ("7", "case 7 (val split)"),
    ],
)
def test_cases_are_named_by_id_or_position(
    store: Path, tmp_path: Path, written: list[str], case: str, shown: str
) -> None:
    image = tmp_path / "out.png"
    assert view_code(store, "--case", case, "--field", "von_mises_stress", "--screenshot", image, *SMALL) == 0
    assert f"von Mises stress, {shown}" in written


@pytest.mark.parametrize(("warp", "label"), [("auto", "20"), ("3.5", "3.5"), ("1e2", "100")])
def test_the_warp_is_stated(store: Path, tmp_path: Path, written: list[str], warp: str, label: str) -> None:
    assert view_code(store, "--warp", warp, "--screenshot", tmp_path / "out.png", *SMALL) == 0
    assert f"deformation \N{MULTIPLICATION SIGN} {label}" in written


def test_zero_warp_is_undeformed(store: Path, tmp_path: Path, written: list[str]) -> None:
    assert view_code(store, "--warp", "0", "--screenshot", tmp_path / "out.png", *SMALL) == 0
    assert "undeformed" in written


def test_unknown_cases_get_the_nearest(store: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    image = tmp_path / "out.png"
    line = refusal(store, "--case", "21477_babb9c34_5", "--screenshot", image)
    assert line.startswith("error: no case '21477_babb9c34_5'; positions are 0 to 2")
    assert "nearest case ids 21477_babb9c34_4," in line
    assert "no case '3'" in refusal(store, "--case", "3", "--screenshot", image)
    assert "no case '-1'" in refusal(store, "--case=-1", "--screenshot", image)
    assert not image.exists()


def test_unknown_fields_get_the_nearest(store: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    line = refusal(store, "--field", "displacment_z", "--screenshot", tmp_path / "out.png")
    assert "has no field 'displacment_z'; the nearest are displacement_z," in line
    # A field of the schema that this store was built without.
    assert "no field 'cauchy_stress_xx'" in refusal(
        store, "--field", "cauchy_stress_xx", "--screenshot", tmp_path / "out.png"
    )


def test_the_image_format_is_checked_first(tmp_path: Path, refusal: Callable[..., str]) -> None:
    line = refusal(tmp_path / "absent.zarr", "--screenshot", tmp_path / "out.svg")
    assert "out.svg: the name must end in .png" in line


def test_no_desktop_points_at_what_needs_none(
    store: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "use --web, or --screenshot FILE.png" in refusal(store)


def test_with_a_desktop_a_window_opens(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("viz.rendering.require_display", lambda: None)
    monkeypatch.setattr("viz.desktop.DesktopViewer.run", lambda self: shown.append(self.viewer.case_name))
    assert view_code(store, "--case", "7", *SMALL) == 0
    assert shown == ["7"]


def test_web_serves_the_viewer(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr(
        "viz.web.serve", lambda viewer, host, port: served.append((viewer.case_name, host, port))
    )
    assert view_code(store, "--web", "--port", "0", "--case", "7", *SMALL) == 0
    assert served == [("7", "127.0.0.1", 0)]


def test_a_taken_port_is_named(store: Path, refusal: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(store, "--web", "--port", port, *SMALL)
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "choose another --port" in line


def test_a_page_is_written_that_needs_nothing_else(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "part.html"
    assert view_code(store, "--export-html", page, *SMALL) == 0
    text = page.read_text()
    assert "default-src 'none'" in text
    assert "displacement z, case 21477_babb9c34_4 (train split)" in text
    assert "https://kitware.github.io/vtk-js/icon" not in text


def test_a_page_is_named_like_one(store: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    assert "expected the name of a file that ends in .html" in refusal(
        store, "--export-html", tmp_path / "part.txt"
    )


def test_exported_meshes_and_surfaces_are_shown_too(store: Path, tmp_path: Path, written: list[str]) -> None:
    [mesh] = export_vtu([lpbf.open_dataset(store)[0]], tmp_path)
    options = ["--field", "von_mises_stress", "--screenshot", tmp_path / "out.png", *SMALL]
    assert view_code(mesh, *options) == 0
    assert {f"von Mises stress, {mesh.name}", "von Mises stress [MPa]"} <= set(written)
    surface = tmp_path / "part.stl"
    pv.Cube().triangulate().save(surface)
    assert view_code(surface, "--screenshot", tmp_path / "shape.png", *SMALL) == 0
    assert "part.stl" in written


def test_results_of_a_simulation_are_shown_at_their_last_step(
    step2: Path, tmp_path: Path, written: list[str]
) -> None:
    assert view_code(step2, "--screenshot", tmp_path / "out.png", *SMALL) == 0
    assert any(line.startswith("displacement z, case step2 (step") for line in written)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (["--size", "1600"], "--size 1600: expected WIDTHxHEIGHT"),
        (["--size", "axb"], "--size axb: expected WIDTHxHEIGHT"),
        (["--size", "10x10"], "--size 10x10: each side must be 200 to 8192"),
        (["--size", "99999x900"], "--size 99999x900: each side must be 200 to 8192"),
        (["--warp", "much"], "--warp much: expected auto, or a factor"),
        (["--warp=-1"], "--warp -1.0: expected auto, or a factor"),
        (["--warp", "nan"], "--warp nan: expected auto, or a factor"),
        (["--warp", "inf"], "--warp inf: expected auto, or a factor"),
    ],
)
def test_malformed_options_are_named(
    store: Path, tmp_path: Path, refusal: Callable[..., str], mistake: list[str], message: str
) -> None:
    assert message in refusal(store, "--screenshot", tmp_path / "out.png", *mistake)


def test_a_path_to_nothing_is_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    line = refusal(tmp_path / "absent.zarr", "--screenshot", tmp_path / "out.png")
    assert "absent.zarr: expected a store of lpbf-build, a run of lpbf-train, results" in line


def test_a_folder_that_is_neither_is_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    line = refusal(tmp_path, "--screenshot", tmp_path / "out.png")
    assert f"error: {tmp_path} is not a store of lpbf-build, a run of lpbf-train" in line


def test_options_may_stand_in_a_file(store: Path, tmp_path: Path, written: list[str]) -> None:
    config = tmp_path / "view.yaml"
    config.write_text(f"warp: 7\nfield: temperature\nsize: 320x240\nscreenshot: {tmp_path / 'out.png'}\n")
    assert view_code("--config", config, store) == 0
    assert {"deformation \N{MULTIPLICATION SIGN} 7", "temperature [°C]"} <= set(written)


def test_without_pyvista_the_extra_is_named(
    store: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[..., str]
) -> None:
    monkeypatch.setattr(view.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'lpbf-toolkit[viz]'" in refusal(store)


def test_a_run_shows_truth_prediction_and_error_of_a_test_case(
    trained: Path, tmp_path: Path, written: list[str]
) -> None:
    image = tmp_path / "compare.png"
    assert view_code(trained, "--screenshot", image, "--size", "480x240") == 0
    assert pv.read(image).dimensions == (480, 240, 1)
    assert {
        "displacement z, case 55199_4d57661f_0 (test split)",
        "truth",
        "prediction",
        "prediction \N{MINUS SIGN} truth",
        "relative L2 error 50.0%",
        "largest error 0.01 mm",
    } <= set(written)


def test_case_and_field_of_a_run_can_be_chosen(trained: Path, tmp_path: Path, written: list[str]) -> None:
    options = ["--case", "7", "--field", "displacement_x", "--screenshot", tmp_path / "compare.png", *SMALL]
    assert view_code(trained, *options) == 0
    assert "displacement x, case 7 (val split)" in written


def test_a_run_is_asked_only_for_what_it_predicts(
    trained: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    line = refusal(trained, "--field", "temperature", "--screenshot", tmp_path / "compare.png")
    assert "has no field 'temperature'; the nearest are displacement" in line


def test_cases_least_seen_in_training_come_first(store: Path) -> None:
    cases = lpbf.open_dataset(store)

    def first(view: Dataset) -> str:
        return StoreSubject("run", view, ("displacement_z",), lambda case: {}).first_case

    assert first(cases) == "55199_4d57661f_0"
    assert first(cases[:2]) == "7"
    assert first(cases[:1]) == "21477_babb9c34_4"


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        ("0", "layer group 1 of 2, deposited, z = 1 mm"),
        ("3", "layer group 2 of 2, dwelt, z = 2 mm"),
        ("-2", "cooled down on the plate, z = 2 mm"),
    ],
)
def test_a_step_is_named_by_its_position(
    builds: Path, tmp_path: Path, written: list[str], step: str, shown: str
) -> None:
    assert view_code(builds, "--step", step, "--screenshot", tmp_path / "out.png", *SMALL) == 0
    assert f"displacement z, case x (test split), {shown}" in written


@pytest.mark.parametrize("step", ["6", "-7"])
def test_a_step_that_is_not_there_is_named(
    builds: Path, tmp_path: Path, refusal: Callable[..., str], step: str
) -> None:
    line = refusal(builds, "--step", step, "--screenshot", tmp_path / "out.png")
    assert line == f"error: --step {step}: case x has 6 steps, 0 to 5, or -6 to -1 from the end\n"


def test_without_steps_there_is_none_to_choose_to_film_or_to_plot(
    store: Path, trained: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    for path in (store, trained):
        assert "--step 0: case " in refusal(path, "--step", "0", "--screenshot", tmp_path / "out.png")
        assert "has no steps to animate" in refusal(path, "--film", tmp_path / "out.gif")
        assert "build its store with lpbf-build --steps all" in refusal(path, "--plot", tmp_path / "out.png")
    surface = tmp_path / "part.stl"
    pv.Cube().triangulate().save(surface)
    assert "part.stl is a file, which tells no" in refusal(surface, "--plot", tmp_path / "out.png")
    assert list(tmp_path.glob("out.*")) == []


def test_files_of_a_build_are_named_by_their_format(
    builds: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    assert "expected a file that ends in .gif or .mp4" in refusal(builds, "--film", tmp_path / "out.avi")
    assert "needs an even width" in refusal(builds, "--film", tmp_path / "out.mp4", "--size", "301x300")
    assert "ends in .png, .svg, .pdf" in refusal(builds, "--plot", tmp_path / "out.bmp")


def test_a_build_is_filmed_and_plotted(
    builds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, plot = tmp_path / "build.gif", tmp_path / "build.png"
    assert view_code(builds, "--film", film, "--plot", plot, *SMALL) == 0
    moving = Image.open(film)
    assert (moving.size, moving.n_frames) == ((320, 240), 6)
    assert Image.open(plot).size == (900, 564)
    told = capsys.readouterr()
    assert told.out == f"wrote {film}\nwrote {plot}\n"
    assert "drawing: 100%" in told.err


def test_results_are_filmed_and_plotted(step2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, plot = tmp_path / "build.gif", tmp_path / "build.svg"
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    assert view_code(step2, "-q", "--film", film, "--plot", plot, *SMALL) == 0
    assert Image.open(film).n_frames == 8
    assert "smallest recoater clearance" in plot.read_text()


def test_a_run_on_steps_compares_each_of_them(
    trained_on_steps: Path, tmp_path: Path, written: list[str]
) -> None:
    picture, page, film = (tmp_path / name for name in ("out.png", "out.html", "out.gif"))
    outputs = ("--screenshot", picture, "--export-html", page, "--film", film)
    assert view_code(trained_on_steps, "--step=-2", *outputs, *SMALL) == 0
    shown = [
        "displacement z",
        "case x (test split)",
        "layer group 2 of 2, dwelt, z = 2 mm",
        "truth",
        "prediction",
        "relative L2 error 50.0%",
    ]
    assert set(shown) <= set(written)
    # One frame for each step that is predicted, after the picture.
    assert written.count("truth") == 1 + Image.open(film).n_frames == 6
    assert f"<title>{', '.join(shown[:3])}</title>" in page.read_text()


@pytest.mark.parametrize(
    ("targets", "label"),
    [
        (("displacement_z", "displacement_x"), "largest |displacement z| [mm]"),
        (("displacement_x", "displacement_y", "displacement_z"), "largest distortion [mm]"),
        (("von_mises_stress",), "largest von Mises stress [MPa]"),
    ],
)
def test_predicted_and_true_builds_stand_in_one_figure(
    builds: Path,
    trained_on_steps: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    targets: tuple[str, ...],
    label: str,
) -> None:
    monkeypatch.setattr("pipelines.runs.run.Run.open", lambda path: HalfRightAtSteps(builds, targets))
    plot = tmp_path / "build.svg"
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    assert view_code(trained_on_steps, "--plot", plot, *SMALL) == 0
    assert label in plot.read_text()
    assert "deposited, predicted" in plot.read_text()
