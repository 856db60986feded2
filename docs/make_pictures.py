"""Draw the pictures of the README.

    python docs/make_pictures.py STORE RUN [--only gallery comparison viewer compensation] [-o docs/images]
    python docs/make_pictures.py STORE STEP_RUN --only build

STORE is that of ``lpbf-build --count 320 --steps all``, whose parts have the names below; RUN and
STEP_RUN were trained on it, the latter with ``--task next-step`` to predict the displacement.
The screenshot of the viewer needs Chromium and its driver (Debian: ``apt install chromium
chromium-driver``) and the ``dev`` extra.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyvista as pv
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

import lpbf_dataset as lpbf
from lpbf_dataset.distortion import compensate, deviation, refined, simulated_displacement
from lpbf_dataset.parts import ProceduralPart
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.settings import SimulationSettings
from pipelines.runs import files
from pipelines.runs.run import Run
from pipelines.steps.evaluation import LAST_STEP
from pipelines.view_subjects import open_subject
from viz.animation import common_view
from viz.compare import comparison_scene
from viz.contents import Look
from viz.deviation import Shape, deviation_scene
from viz.gallery import gallery_scene
from viz.live import LiveScene
from viz.rendering import prepare_offscreen, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from lpbf_dataset.distortion import Deviation

GALLERY = (
    *("bracket_000036_0", "gear_000165_0", "lattice_000152_0", "overhang_000228_0", "thin_wall_000123_0"),
    *("ring_000063_0", "flange_000137_0", "bracket_000031_0", "thin_wall_000046_0", "gear_000006_0"),
    *("bridge_000034_0", "lattice_000020_0", "overhang_000004_2", "ring_000016_0", "thin_wall_000058_1"),
    *("bracket_000017_0", "ring_000160_0", "flange_000060_0"),
)
"""Of every family, such as differ from each other and warp by about as much as the others."""

FIELD = "displacement_z"
COMPENSATED_PART = "bracket_000036_0"
PART_EDGE = 30.0
"""Longest edge of the parts of STORE, mm."""

VIEWED_CASE, SEARCHED = "thin_wall_000123_0", "wall_0001"
BROWSER_SIZE = (1440, 1120)
CLICKED = (150, 0)
"""Pixels from the middle of the page: one of the walls."""
SECONDS_TO_LOAD, SECONDS_STILL = 120.0, 4.0

STRIP_STEPS = 4
STRIP_SIZE = (1200, 500)
BETWEEN_WRITING = (0.1, 0.8)
"""Of the height of a scene, what has neither headings nor colour bars on it."""

LARGEST_FILE = 300_000
"""Bytes; a README is to load at once."""


def gallery(store: str, _: str) -> Image.Image:
    """Draw parts of every family."""
    dataset = lpbf.open_dataset(store)
    cases = [dataset[case_id] for case_id in GALLERY]
    return picture(gallery_scene(cases, FIELD, title=f"{len(cases)} of {len(dataset)} simulated parts"))


def comparison(_: str, run: str) -> Image.Image:
    """Draw the test case on which the model does neither better nor worse than on half of the others."""
    model = Run.open(run)
    test = model.dataset().test
    predictions = [dict(zip(model.targets, model.predict(case).T, strict=True)) for case in test]
    errors = [
        float(np.linalg.norm(prediction[FIELD] - case.scalar(FIELD)) / np.linalg.norm(case.scalar(FIELD)))
        for case, prediction in zip(test, predictions, strict=True)
    ]
    middle = int(np.argsort(errors)[(len(errors) - 1) // 2])
    return picture(comparison_scene(test[middle], FIELD, predictions[middle]))


def compensation(_: str, __: str) -> Image.Image:
    """Draw a part as it is printed, the surface to print instead, and what comes of that."""
    parts = (ProceduralPart(index, 0, (PART_EDGE, PART_EDGE)) for index in itertools.count())
    part = next(part for part in parts if part.name == COMPENSATED_PART)
    nominal = refined(part.read().mesh, 2.0 * SimulationSettings().cell_height)
    result = compensate(nominal, simulated_displacement(MATERIALS["inconel625"]))

    def shape(caption: str, measured: Deviation) -> Shape:
        outwards = (measured.offsets * nominal.vertex_normals).sum(axis=1)
        return Shape(caption, nominal.vertices + measured.offsets, outwards)

    shapes = [
        shape("printed as designed", result.before),
        shape("the compensated STL", deviation(nominal, result.surface.vertices)),
        shape("printed from the compensated STL", result.after),
    ]
    return picture(deviation_scene(pv.wrap(nominal), shapes, part.name))


def build(_: str, run: str) -> Image.Image:
    """Draw steps of the build of the test case whose last step is predicted neither well nor badly."""
    subject = open_subject(run)
    scores = pd.read_parquet(Path(run, files.CASE_METRICS))
    scores = scores[(scores["split"] == "test") & (scores["region"] == LAST_STEP)].sort_values("relative_l2")
    case_id = scores["case_id"].iloc[(len(scores) - 1) // 2]
    labels = subject.step_labels(case_id)
    look = Look("displacement", "z", compare=True)
    common = common_view((subject.load(case_id, step) for step in range(len(labels))), look)
    assert common.scales is not None
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(3, STRIP_STEPS)
    with closing(LiveScene(STRIP_SIZE)) as scene:
        scene.plotter.renderers[0].hide_axes()
        for column, step in enumerate(np.linspace(0, len(labels) - 1, STRIP_STEPS).round().astype(int)):
            part = subject.load(case_id, step)
            scene.show(part, replace(look, warp=common.factor), keep_camera=True, scales=common.scales)
            scene.aim_at(common.seen)
            drawn = scene.image()[slice(*(round(place * STRIP_SIZE[1]) for place in BETWEEN_WRITING))]
            for row, picture in enumerate(np.split(drawn, 3, axis=1)):
                panels[row, column].imshow(picture)
            panels[0, column].set_title(labels[step].replace(", ", "\n", 1), fontsize="medium")
            panels[2, column].set_xlabel(scene.contents[1].note)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, content in zip(panels[:, 0], scene.contents, strict=True):
        axes.set_ylabel(content.caption)
    for rows, content in ((panels[:2], scene.contents[0]), (panels[2:], scene.contents[2])):
        assert content.colouring is not None
        scale = content.colouring.scale
        colours = ScalarMappable(Normalize(*scale.limits), scale.cmap)
        figure.colorbar(colours, ax=rows, label=content.colouring.title, aspect=12 * len(rows))
    figure.suptitle(f"{part.title}, deformation \N{MULTIPLICATION SIGN} {common.factor:g}")
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return Image.open(stream).convert("RGB")


def viewer(store: str, _: str) -> Image.Image:
    """Photograph the viewer in a browser, with a search and a node picked."""
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        size = "{},{}".format(*BROWSER_SIZE)
        for flag in ("headless", "no-sandbox", f"window-size={size}", f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        view_command = [sys.executable, "-c", "from pipelines.view import main; main()"]
        arguments = [Path(store).name, "--case", VIEWED_CASE, "--field", FIELD, "--web", "--port", "0"]
        server = subprocess.Popen(  # noqa: S603
            [*view_command, *arguments], cwd=Path(store).absolute().parent, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            address = next(word for line in server.stdout for word in line.split() if word.startswith("http"))
            browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
            try:
                browser.get(address)
                _wait_until_still(browser.get_screenshot_as_png)
                browser.find_element(By.CSS_SELECTOR, "#case-search").send_keys(SEARCHED)
                view = browser.find_element(By.CSS_SELECTOR, "main")
                ActionChains(browser).move_to_element_with_offset(view, *CLICKED).click().perform()
                return _wait_until_still(browser.get_screenshot_as_png)
            finally:
                browser.quit()
        finally:
            server.terminate()
            server.wait()


def _wait_until_still(photograph: Callable[[], bytes]) -> Image.Image:
    """Return the first photograph with something on it that is like the one some seconds before."""
    deadline = time.monotonic() + SECONDS_TO_LOAD
    last = b""
    while time.monotonic() < deadline:
        now = photograph()
        image = Image.open(BytesIO(now)).convert("RGB")
        if now == last and _is_coloured(np.asarray(image, np.int16)):
            return image
        last = now
        time.sleep(SECONDS_STILL)
    raise SystemExit(f"the viewer shows nothing after {SECONDS_TO_LOAD:g} s")


def _is_coloured(image: NDArray[np.int16]) -> bool:
    """Tell a drawn part from a page that is still empty, by its lower right."""
    height, width, _ = image.shape
    return float((np.ptp(image[height // 4 :, width // 3 :], axis=2) > 40).mean()) > 0.02


def picture(scene: pv.Plotter) -> Image.Image:
    """Render a scene, once."""
    image = Image.fromarray(scene.screenshot(return_img=True))
    scene.close()
    return image


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG that is small enough for a README, in 256 colours where it must be."""
    for variant in _ever_smaller(image):
        stream = BytesIO()
        variant.save(stream, "PNG", optimize=True)
        if stream.tell() <= LARGEST_FILE:
            break
    else:
        raise SystemExit(f"{path} takes {stream.tell()} bytes, more than {LARGEST_FILE}")
    with replacing(path) as unfinished:
        unfinished.write_bytes(stream.getvalue())


def _ever_smaller(image: Image.Image) -> Iterator[Image.Image]:
    """Yield an image as it is, then in 256 colours with dithering, then without."""
    yield image
    # Coverage rather than frequency decides on the colours, so that the bar keeps its ends.
    flat = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    yield image.quantize(palette=flat, dither=Image.Dither.FLOYDSTEINBERG)
    yield flat


PICTURES = {f.__name__: f for f in (gallery, comparison, viewer, compensation, build)}
OF_FINAL_STATES = tuple(name for name in PICTURES if name != "build")


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", help="path of the store")
    parser.add_argument("run", help="folder of a run that was trained on it")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=OF_FINAL_STATES, help="which to draw")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args(arguments)
    prepare_offscreen()
    for name in tqdm(options.only, unit="picture"):
        save(PICTURES[name](options.store, options.run), options.output / f"{name}.png")


if __name__ == "__main__":
    main()
