"""A predicted part on one HTML page that loads nothing, runs no script and may be passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset import __version__
from lpbf_dataset.report.markup import Html, document, element, page_style, section, table
from lpbf_dataset.report.text import NARROW_SPACE, number, percent, unit
from lpbf_dataset.schema import VARIABLES, resolve_scalar
from pipelines.prediction.build_report import build_section
from pipelines.prediction.known_errors import SPLIT_NAMES
from pipelines.prediction.pictures import COMPENSATION_PICTURE, PICTURE, TRUTH_PICTURE
from pipelines.prediction.wording import field_table, length, mm, picture, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lpbf_dataset.report.markup import Section

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
img { display: block; max-width: 100%; height: auto; margin: 0.75rem 0; background: white; }
h2 { margin-top: 2rem; }
ul { max-width: 52rem; padding-left: 1.2rem; }
.key { grid-template-columns: repeat(auto-fill, minmax(9.6rem, 1fr)); }
"""

_METRICS = {
    "relative_l2": "relative L2",
    "r2": "R²",
    "mean_absolute_error": "mean absolute error",
    "p95_absolute_error": "95th percentile of the absolute error",
    "max_absolute_error": "largest absolute error",
}


def prediction_report(values: Mapping[str, Any], folder: Path, names: Sequence[str]) -> str:
    """Write the page of a part.

    Parameters
    ----------
    values : mapping
        What `pipelines.prediction.figures.figures` gives.
    folder : Path
        Holds its pictures, those that could be drawn.
    names : sequence of str
        Files that were written beside the page.
    """
    title = f"Predicted distortion of {values['part']}"
    style = page_style() + _STYLE
    body = element(
        "body",
        element(
            "header",
            element("h1", title),
            element("p", _subtitle(values), class_="subtitle"),
            _key(values),
            *(element("p", f"Mind: {warning}.", class_="warning") for warning in values["warnings"]),
        ),
        element("main", *(part.html() for part in _sections(values, folder, names) if part.content)),
    )
    return document(title, _POLICY, Html(style), body)


def _subtitle(values: Mapping[str, Any]) -> str:
    models = f"{values['members']} models" if values["members"] > 1 else "a model"
    return f"by {models} of the run {values['run']}, lpbf-toolkit {__version__}"


def _key(values: Mapping[str, Any]) -> Html:
    moved, mesh = values["displacement"], values["mesh"]
    tiles = {}
    if moved:
        along = "" if values["axes"] == "xyz" else f" in {', '.join(values['axes'])}"
        tiles = {
            f"largest distortion{along}": mm(moved["max_mm"]),
            "95 % of the surface within": mm(moved["p95_mm"]),
            "RMS over the surface": mm(moved["rms_mm"]),
            f"surface beyond {values['tolerance_mm']:g} mm": percent(moved["beyond_tolerance"]),
        }
        if "std_at_max_mm" in moved:
            tiles["spread of the models there"] = f"±{NARROW_SPACE}{mm(moved['std_at_max_mm'])}"
    tiles["nodes of the mesh"] = number(mesh["nodes"])
    if truth := values["truth"]:
        tiles["relative L2 error"] = percent(_main_scores(truth)[1]["relative_l2"])
        if truth["speed_up"]:
            tiles["faster than the solver"] = f"{truth['speed_up']:.0f} times"
    each = (element("div", element("dt", name), element("dd", value)) for name, value in tiles.items())
    return element("dl", *each, class_="key")


def _main_scores(truth: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """Field that sums the errors up: a vector comes after its components."""
    return list(truth["scores"].items())[-1]


def _sections(values: Mapping[str, Any], folder: Path, names: Sequence[str]) -> Iterator[Section]:
    yield section("Where", "where", *_where(values, folder))
    if values["build"]:
        yield build_section(values, folder)
    if values["compensation"]:
        yield section("Compensation", "compensation", *_compensation(values, folder))
    if values["truth"]:
        yield section("Against the truth", "truth", *_truth(values, folder))
    yield section(
        "What is not known", "unknown", element("ul", *(element("li", x) for x in _unknown(values)))
    )
    yield section(
        "Fields, mesh and time",
        "mesh",
        field_table("predicted field, over all nodes", values["fields"]),
        *_mesh(values),
    )
    yield section("Files", "files", element("ul", *(element("li", text) for text in _files(names))))


def _where(values: Mapping[str, Any], folder: Path) -> Iterator[str]:
    moved = values["displacement"]
    if not moved:
        yield element("p", "The run predicts no displacement, so that there is no distortion to measure.")
    else:
        x, y, z = (f"{coordinate:.1f}" for coordinate in moved["at_mm"])
        along = "" if values["axes"] == "xyz" else f" along {', '.join(values['axes'])}"
        yield element(
            "p",
            f"The surface moves most{along}, by {mm(moved['max_mm'])}, at x = {x}, y = {y}, z = {z} mm, "
            f"{_origin(values)}. {_frame(values)}",
        )
    yield picture(folder / PICTURE, "the predicted part, its deformation exaggerated")


def _frame(values: Mapping[str, Any]) -> str:
    if values["build"] and values["build"]["is_on_plate"]:
        return "That is on the plate, which holds it; the springback when it comes off is not predicted."
    return "The rigid motion of the whole part is taken out, as in the training data."


def _origin(values: Mapping[str, Any]) -> str:
    if values["mesh"]["cell_height_mm"] is None:
        return "in the coordinates of the store"
    return "z counted from the plate, x and y from the middle of the part's box"


def _compensation(values: Mapping[str, Any], folder: Path) -> Iterator[str]:
    compensation = values["compensation"]
    before, after = compensation["before"], compensation["after"]
    left = after["rms_mm"] / before["rms_mm"] if before["rms_mm"] else 0.0
    yield element(
        "p",
        f"Printed as designed the part deviates by {mm(before['rms_mm'])} RMS, compensated by "
        f"{mm(after['rms_mm'])}, {percent(left)} of it. Both are the model's own estimate after "
        f"{_times(compensation['iterations'], 'move')} of the surface; the error of the model comes on top. "
        f"{_measure(values)}",
    )
    rows = [
        (caption, *(length(of[name]) for name in ("rms_mm", "p95_mm", "max_mm")))
        for caption, of in (("printed as designed", before), ("compensated, then printed", after))
    ]
    yield table(("", "RMS [mm]", "P95 [mm]", "largest [mm]"), rows, numeric=(1, 2, 3))
    if held := compensation["held_vertices"]:
        yield element(
            "p",
            f"{number(held)} vertices were moved less than wanted, or the surface would run through itself.",
        )
    yield picture(folder / COMPENSATION_PICTURE, "deviation before and after compensation")


def _unit_of(field: str) -> str:
    return unit(VARIABLES[resolve_scalar(field)[0]].units)


def _measure(values: Mapping[str, Any]) -> str:
    across = "The picture shows of it what is across the surface."
    if values["axes"] != "xyz":
        return across
    return f"Deviation is measured after the best rigid fit, as on a measuring machine. {across}"


def _truth(values: Mapping[str, Any], folder: Path) -> Iterator[str]:
    truth = values["truth"]
    origin = "the embedded solver" if truth["origin"] == "solver" else "the store"
    yield element("p", f"The truth is that of {origin}, on the same mesh.")
    rows = [
        (
            name,
            *(short(scores[metric]) for metric in _METRICS),
            _unit_of(name),
        )
        for name, scores in truth["scores"].items()
    ]
    heads = ("field", *_METRICS.values(), "unit of errors")
    yield table(heads, rows, numeric=range(1, len(heads) - 1))
    if (true := truth["displacement"]) and (moved := values["displacement"]):
        names = {"max_mm": "largest [mm]", "p95_mm": "P95 [mm]", "rms_mm": "RMS [mm]"}
        rows = [
            (caption, *(length(of[name]) for name in names), percent(of["beyond_tolerance"]))
            for caption, of in (("predicted", moved), ("true", true))
        ]
        head = ("distortion of the surface", *names.values(), f"beyond {values['tolerance_mm']:g} mm")
        yield table(head, rows, numeric=range(1, 5))
    if truth["speed_up"]:
        yield element(
            "p",
            f"The solver took {truth['solver_seconds']:.3g} s, the model {truth['surrogate_seconds']:.3g} s "
            f"with its features, {truth['speed_up']:.0f} times less; both were measured here and now, "
            "without the mesh, which they share.",
        )
    yield picture(folder / TRUTH_PICTURE, "truth, prediction and error")


def _unknown(values: Mapping[str, Any]) -> Iterator[str]:
    if values["displacement"] and values["axes"] != "xyz":
        absent = " and ".join(axis for axis in "xyz" if axis not in values["axes"])
        yield (
            f"How the part moves along {absent}: the run predicts the displacement along "
            f"{', '.join(values['axes'])} alone, so that figures and compensation are of that alone."
        )
    if not values["truth"]:
        yield f"The error on this part: it was not simulated (--simulate). {_errors(values['known_errors'])}"
    if values["members"] == 1:
        yield "How sure the model is: an ensemble (lpbf-train --members) would tell its spread."
    elif values["displacement"]:
        yield "What the spread of the models leaves out: an error that all of them share does not show in it."
    if values["compensation"]:
        yield (
            "Whether the compensated part comes out so: the solver was not run on it, and neither model nor "
            "solver knows machine, supports and heat treatment but by the material that they were fitted to."
        )
    else:
        yield "What machine, supports and heat treatment change: they are not in the training data."


def _errors(known: Mapping[str, Any]) -> str:
    if not known:
        return "Nor is the error of the run known, which has not been evaluated."
    return " ".join(
        f"On {of['cases']} {SPLIT_NAMES[of['split']]} cases the run errs in {target} by a relative L2 of "
        f"{percent(of['relative_l2'])} on average, and by less than "
        f"{of['p95_absolute_error']:.2g}{NARROW_SPACE}{unit(of['unit'])} at 95 % of the nodes of a case."
        for target, of in known.items()
    )


def _times(count: int, what: str) -> str:
    if count == 0:
        return f"no {what}"
    return f"one {what}" if count == 1 else f"{count} {what}s"


def _mesh(values: Mapping[str, Any]) -> Iterator[str]:
    mesh = values["mesh"]
    size = " x ".join(f"{length:.4g}" for length in mesh["size_mm"])
    height = f"; the finest are {mesh['cell_height_mm']:.3g} mm high" if mesh["cell_height_mm"] else ""
    yield element(
        "p",
        f"{number(mesh['nodes'])} nodes and {number(mesh['cells'])} cells{height}. "
        f"The mesh measures {size} mm and {number(mesh['volume_mm3'])} mm³.",
    )
    if values["seconds"]:
        measured = {name: seconds for name, seconds in values["seconds"].items() if seconds > 1e-3}
        times = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in measured.items())
        yield element("p", f"Wall time: {times}.")


def _files(names: Sequence[str]) -> Iterator[str]:
    meanings = {
        ".pvd": "the build over time, for ParaView: a mesh with the predicted fields for each step",
        ".vtu": "every predicted field on the mesh, for ParaView",
        "_surface.vtp": "the same on the surface of the part",
        "_surface.ply": "the same, with colours",
        "_compensated.stl": "the surface to print, in mm, where the part lies in its file",
    }
    # The series stands for the files of its steps.
    for name in (name for name in names if "/" not in name):
        meaning = next((text for ending, text in meanings.items() if name.endswith(ending)), "")
        yield f"{name}: {meaning}"
