"""The files of a predicted build: the series over time, and how the distortion grows with it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lpbf_dataset.case import Case
from lpbf_dataset.export import check_case_id, export_pvd
from lpbf_dataset.export.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.prediction.prediction import Prediction

BUILD_PICTURE = "build.png"


def write_build(prediction: Prediction, folder: Path) -> list[str]:
    """Write the predicted steps into a folder, and return the names of the files of the series.

    What an earlier prediction of the part left of its build is removed.
    """
    name = prediction.case.case_id
    check_case_id(name)
    series, steps = folder / f"{name}.pvd", folder / name
    series.unlink(missing_ok=True)
    shutil.rmtree(steps, ignore_errors=True)
    if not prediction.build:
        return []
    case = Case(name, prediction.case.design_id, prediction.case.source, {}, steps=prediction.build)
    export_pvd(case, folder)
    if prediction.axes:
        _draw(case, folder / BUILD_PICTURE)
    return [series.name, *sorted(f"{name}/{path.name}" for path in steps.iterdir())]


def _draw(case: Case, path: Path) -> None:
    from viz.statistics import build_figure

    with written_whole(path) as partial:
        build_figure(case).savefig(partial, dpi=110, format="png")
