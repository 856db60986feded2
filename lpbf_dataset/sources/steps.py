"""The part that a step of a simulation leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.case import Case

if TYPE_CHECKING:
    from lpbf_dataset.sources.base import RawCase, Step


def case_at_step(raw: RawCase, step: Step) -> Case:
    """Return what is built by a step, without the plate.

    Parameters
    ----------
    raw : RawCase
        The simulation.
    step : Step
        One of its steps.

    Returns
    -------
    Case
        The cells above the plate, which lies below z = 0, with points, cells and the fields of the step.
    """
    above = step.points[step.cells].mean(axis=1)[:, 2] > 0.0
    nodes, cells = np.unique(step.cells[above], return_inverse=True)
    variables = {
        "points": step.points[nodes],
        "cells": cells.reshape(-1, 8).astype(np.int32),
        **{name: values[nodes] for name, values in step.fields.items()},
    }
    return Case(raw.case_id, raw.design_id, raw.source, variables)
