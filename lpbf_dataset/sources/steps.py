"""The part that a step of a simulation leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.case import Case

if TYPE_CHECKING:
    from lpbf_dataset.sources.base import RawCase, Step


def part_at_step(step: Step) -> Step:
    """Leave out the cells of the plate, which lies below z = 0, and the nodes of theirs alone."""
    cells = step.cells[step.points[step.cells, 2].mean(axis=1) > 0.0]
    used = np.zeros(len(step.points), np.bool_)
    used[cells] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    fields = {name: values[used] for name, values in step.fields.items()}
    return replace(step, points=step.points[used], cells=number[cells], fields=fields)


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
        With points, cells and the fields of the step.
    """
    part = part_at_step(step)
    variables = {"points": part.points, "cells": part.cells, **part.fields}
    return Case(raw.case_id, raw.design_id, raw.source, variables)
