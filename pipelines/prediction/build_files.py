"""The files of a predicted build: the series over time, and how the distortion grows with it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from lpbf_dataset.case import Case
from lpbf_dataset.export import check_case_id, export_pvd
from lpbf_dataset.export.files import written_whole
from pipelines.prediction.pictures import picture_field

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lpbf_dataset.steps import CaseStep
    from pipelines.prediction.assessment import Assessment
    from pipelines.prediction.prediction import Prediction

BUILD_PICTURE = "build.png"


def write_build(assessment: Assessment, folder: Path) -> list[str]:
    """Write the predicted steps into a folder, and return the names of the files of the series.

    What an earlier prediction of the part left of its build is removed.
    """
    prediction = assessment.prediction
    name = prediction.case.case_id
    check_case_id(name)
    series, steps = folder / f"{name}.pvd", folder / name
    series.unlink(missing_ok=True)
    shutil.rmtree(steps, ignore_errors=True)
    if not prediction.build:
        return []
    export_pvd(_with_steps(prediction, prediction.build), folder)
    if prediction.axes:
        _draw(assessment, folder / BUILD_PICTURE)
    return [series.name, *sorted(f"{name}/{path.name}" for path in steps.iterdir())]


def _draw(assessment: Assessment, path: Path) -> None:
    """Draw the predicted build beside the true one, or alone where that is not known."""
    from viz.build_plot import build_figure

    prediction, field = assessment.prediction, picture_field(assessment)
    if assessment.truth is None:
        figure = build_figure(_with_steps(prediction, prediction.build), field)
    else:
        predicted = ((step.index, {field: step.scalar(field)}) for step in prediction.build)
        figure = build_figure(_with_steps(prediction, assessment.truth.steps), field, predicted)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _with_steps(prediction: Prediction, steps: Sequence[CaseStep]) -> Case:
    case = prediction.case
    return Case(case.case_id, case.design_id, case.source, {}, steps=steps)
