"""``lpbf-view``: a part of a store in 3D, or what a trained model makes of it."""

from __future__ import annotations

import difflib
import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionConfigFile, ArgumentParser

import lpbf_dataset as lpbf
from lpbf_dataset.schema import SPLITS, VARIABLES, component_names, resolve_scalar
from pipelines import files
from pipelines.console import UserError, add_verbosity, run_command, set_verbosity
from viz.rendering import check_image_path, prepare_offscreen, require_display, save_screenshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyvista as pv

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset
    from viz.warp import Warp

DEFAULT_FIELD = "displacement_z"

# The smallest that the writing still fits into, and the largest that graphics drivers agree on.
MIN_SIDE, MAX_SIDE = 200, 8192


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels, from ``"1600x900"``."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size {text}: expected WIDTHxHEIGHT in pixels, such as 1600x900")
    size = int(width), int(height)
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise UserError(f"--size {text}: each side must be {MIN_SIDE} to {MAX_SIDE} pixels")
    return size


def parse_warp(value: float | str) -> Warp:
    """Exaggeration of the displacement: "auto" or a factor that is not negative."""
    if value == "auto":
        return "auto"
    if isinstance(value, str) or not 0.0 <= value < math.inf:
        raise UserError(f"--warp {value}: expected auto, or a factor of at least 0")
    return value


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-view",
        description="Show a field of a case of a store, or truth, prediction and error of a training run.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options")
    parser.add_argument("path", type=str, help="a store (path or URL), or the folder of a run")
    parser.add_argument(
        "--case",
        type=str,
        help="case id, or position in the store from 0 (default: the first; of a run, the first test case)",
    )
    parser.add_argument(
        "--field",
        type=str,
        help=f"such as {DEFAULT_FIELD} or von_mises_stress (default: {DEFAULT_FIELD}; of a run, its target)",
    )
    parser.add_argument(
        "--warp", type=float | str, default="auto", help="exaggeration of the displacement: auto, or a factor"
    )
    parser.add_argument("--size", type=str, help="pixels of the picture, such as 1600x900")
    parser.add_argument("--screenshot", type=Path, help="write this image instead of opening a window")
    add_verbosity(parser)
    return parser


def run(arguments: list[str] | None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    drawing: dict[str, Any] = {"warp": parse_warp(options.warp), "off_screen": options.screenshot is not None}
    if options.size is not None:
        drawing["size"] = parse_size(options.size)
    if importlib.util.find_spec("pyvista") is None:
        raise UserError("drawing needs PyVista: pip install 'lpbf-toolkit[viz]'")
    if options.screenshot is None:
        require_display()
    else:
        check_image_path(options.screenshot)
        prepare_offscreen()

    draw = _store_scene if is_store(options.path) else _run_scene
    scene = draw(options.path, options.case, options.field, drawing)
    if options.screenshot is None:
        scene.show(title=f"lpbf-view {options.path}")
        return 0
    save_screenshot(scene, options.screenshot)
    if not options.quiet:
        print(f"wrote {options.screenshot}")
    return 0


def is_store(path: str) -> bool:
    """Whether a path is a store, by the root of its Zarr group, rather than a run, by its configuration.

    Raises
    ------
    UserError
        If it is neither.
    """
    if "://" in path or Path(path, "zarr.json").is_file():
        return True
    if Path(path, files.CONFIG).is_file():
        return False
    if not Path(path).exists():
        raise UserError(f"there is no {path}: expected a store of lpbf-build or a run of lpbf-train")
    raise UserError(
        f"{path} is neither a store of lpbf-build (it has no zarr.json) "
        f"nor a run of lpbf-train (it has no {files.CONFIG})"
    )


def find_case(cases: Dataset, key: str | None) -> int | str:
    """Find a case by what a user calls it.

    Parameters
    ----------
    cases : Dataset
        Every case of a store.
    key : str or None
        Case id, or else a position; None for the first case.

    Returns
    -------
    int or str
        Index into `cases`.

    Raises
    ------
    UserError
        If there is no such case.
    """
    if not len(cases):
        raise UserError("the store holds no case")
    if key is None:
        return 0
    if key in cases:
        return key
    if key.isdecimal() and int(key) < len(cases):
        return int(key)
    raise UserError(
        f"no case {key!r}; positions are 0 to {len(cases) - 1}, the nearest case ids "
        f"{_nearest(key, cases.case_ids)}"
    )


def scalar_names(variables: Sequence[str]) -> list[str]:
    """Names of everything with one number per node that can be drawn of some variables."""
    fields = [name for name in variables if VARIABLES[name].dim == "node" and name != "points"]
    return [
        scalar
        for name in fields
        for scalar in (name, *(f"{name}_{component}" for component in component_names(VARIABLES[name])))
    ]


def check_field(field: str, known: Sequence[str], where: str) -> None:
    """Refuse a field that is not among the known ones, and name the nearest that are.

    Raises
    ------
    UserError
        If the field is not known.
    """
    if field not in known:
        raise UserError(f"{where} has no field {field!r}; the nearest are {_nearest(field, known)}")


def _store_scene(path: str, case_key: str | None, field: str | None, drawing: dict[str, Any]) -> pv.Plotter:
    from viz.scenes import field_scene

    cases = lpbf.open_dataset(path)
    field = field or DEFAULT_FIELD
    check_field(field, scalar_names(cases.variables), path)
    needed = {"points", "cells", "displacement", resolve_scalar(field)[0]}
    case = cases.read(find_case(cases, case_key), sorted(needed))
    return field_scene(case, field, **drawing)


def _run_scene(path: str, case_key: str | None, field: str | None, drawing: dict[str, Any]) -> pv.Plotter:
    # PyTorch takes seconds to import, and looking at a store does not need it.
    from pipelines.run import Run
    from viz.compare import comparison_scene

    trained = Run.open(path)
    field = field or trained.targets[0]
    check_field(field, trained.targets, f"the model of {path}")
    case = _case_of_run(trained.dataset(), case_key)
    prediction = dict(zip(trained.targets, trained.predict(case).T, strict=True))
    return comparison_scene(case, field, prediction, **drawing)


def _case_of_run(cases: Dataset, key: str | None) -> Case:
    """Case that a user names, or else the first that the model has seen least of."""
    if key is not None:
        return cases[find_case(cases, key)]
    views = [cases.split(split) for split in reversed(SPLITS)]
    chosen = next((view for view in views if len(view)), cases)
    return chosen[find_case(chosen, None)]


def _nearest(name: str, known: Sequence[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.0))


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lpbf-view``."""
    run_command(run, arguments)
