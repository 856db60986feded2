"""The build of a predicted part over time, as a section of its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset.report.markup import element, section, table
from lpbf_dataset.report.svg import MUTED, SERIES, canvas, figure_legend, inline
from lpbf_dataset.report.text import percent
from pipelines.prediction.build_files import BUILD_PICTURE
from pipelines.prediction.wording import field_table, length, mm, picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lpbf_dataset.report.markup import Html, Section


def build_section(values: Mapping[str, Any], folder: Path) -> Section:
    """Write the section.

    Parameters
    ----------
    values : mapping
        What `pipelines.prediction.figures.figures` gives of a run of steps.
    folder : Path
        Holds the picture of the build, if it could be drawn.
    """
    return section("Over the build", "build", *_content(values, folder))


def _content(values: Mapping[str, Any], folder: Path) -> Iterator[str]:
    build = values["build"]
    steps, last = build["steps"], build["on_plate"]
    on_plate = steps[last["step"]]
    yield element(
        "p",
        f"{len(steps)} steps were predicted, each on the mesh of what is built by then. The last one on the "
        f"plate is number {last['step'] + 1} ({on_plate['kind']}), at {on_plate['time_s']:.0f} s of process "
        f"time, when the part is {mm(on_plate['height_mm'])} high.",
    )
    if last["displacement"]:
        yield _distortions(values)
    if not build["is_on_plate"]:
        yield field_table(f"predicted field, last step on the plate ({on_plate['kind']})", last["fields"])
    if (folder / BUILD_PICTURE).is_file():
        yield element("p", "The largest distortion over the nodes of each step, against the height by then:")
        yield picture(folder / BUILD_PICTURE, "largest distortion against the height of the build")
    if values["truth"] and values["truth"]["step_errors"]:
        yield element("p", "How far each step is from the true one:")
        yield _errors(values["truth"]["step_errors"])


def _distortions(values: Mapping[str, Any]) -> Html:
    """Tabulate the distortion of the surface on the plate and, where that is known, off it."""
    of_states = {"on the plate": values["build"]["on_plate"]["displacement"]}
    if not values["build"]["is_on_plate"]:
        of_states["off the plate"] = values["displacement"]
    names = {"max_mm": "largest [mm]", "p95_mm": "P95 [mm]", "rms_mm": "RMS [mm]"}
    rows = [
        (state, *(length(of[name]) for name in names), percent(of["beyond_tolerance"]))
        for state, of in of_states.items()
    ]
    head = ("distortion of the surface", *names.values(), f"beyond {values['tolerance_mm']:g} mm")
    return table(head, rows, numeric=range(1, 5))


def _errors(errors: Mapping[str, Sequence[float]]) -> Html:
    """Draw the relative L2 error of each field against the step."""
    with canvas(7.4, 3.0) as axes:
        for index, (field, of_steps) in enumerate(errors.items()):
            steps = range(1, len(of_steps) + 1)
            axes.plot(steps, of_steps, color=SERIES[index % len(SERIES)], label=field)
        axes.set(xlabel="step of the build", ylabel="relative L2 error")
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", integer=True)
        axes.grid(visible=True, color=MUTED, alpha=0.25, linewidth=0.6)
        figure_legend(axes)
        return inline(axes, "Relative L2 error of each field against the step of the build")
