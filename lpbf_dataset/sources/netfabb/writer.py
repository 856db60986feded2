"""Write results in the layout of Netfabb, for solvers that take its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.sources.ensight import (
    CaseFile,
    FileSeries,
    Geometry,
    Part,
    TimeSet,
    VariableSeries,
    write_case,
    write_geometry,
    write_variable,
)
from lpbf_dataset.sources.netfabb.layout import CASE_FILE, RESULT_NAMES, RESULTS_FOLDER, ensight_kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lpbf_dataset.sources.base import Step

_RESULT_TIMES, _GEOMETRY_TIMES = 1, 2


def write_results(folder: Path, steps: Iterable[Step]) -> None:
    """Write the results of a run, to be read by `NetfabbSource`, Netfabb and ParaView.

    Parameters
    ----------
    folder : Path
        The case folder; results go to ``results`` in it, which is made.
    steps : iterable of Step
        In order of time, each with the same fields: for each layer group one "deposited" and one
        "dwelt" on the same mesh, then "cooled", then "removed".  They are taken one at a time.

    Raises
    ------
    ValueError
        If there are no steps, or their fields differ.
    """
    results = folder / RESULTS_FOLDER
    results.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    result_times: list[float] = []
    geometry_times: list[float] = []
    for number, step in enumerate(steps, start=1):
        names = names or list(step.fields)
        if list(step.fields) != names:
            raise ValueError(f"step {number} has fields {list(step.fields)}, the first has {names}")
        geometry = Geometry((Part(step.points, {"hexa8": step.cells}),), ("LPBF geometry", "lengths in mm"))
        if step.kind != "dwelt":
            geometry_times.append(step.time)
            write_geometry(results / f"mechanical_{len(geometry_times)}.geo", geometry)
        result_times.append(step.time)
        for name in names:
            result = RESULT_NAMES[name]
            file = results / f"mechanical00_{number}.{result.extension}.ens"
            write_variable(file, result.title, geometry, {1: step.fields[name]})
    if not result_times:
        raise ValueError("there are no steps to write")
    write_case(results / CASE_FILE, _case_file(names, result_times, geometry_times))


def _case_file(names: Iterable[str], result_times: list[float], geometry_times: list[float]) -> CaseFile:
    return CaseFile(
        geometry=FileSeries("./mechanical_*.geo", _GEOMETRY_TIMES),
        variables=tuple(
            VariableSeries(
                pattern=f"./mechanical00_*.{RESULT_NAMES[name].extension}.ens",
                time_set=_RESULT_TIMES,
                name=RESULT_NAMES[name].title,
                kind=ensight_kind(name),
            )
            for name in names
        ),
        time_sets={
            number: TimeSet(tuple(times), tuple(range(1, len(times) + 1)))
            for number, times in ((_RESULT_TIMES, result_times), (_GEOMETRY_TIMES, geometry_times))
        },
    )
