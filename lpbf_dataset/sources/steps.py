"""The part that each step of a simulation leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.schema import VARIABLES
from lpbf_dataset.sources.base import CaseError, DamagedStep, FailureReason, Step
from lpbf_dataset.steps import CaseStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from lpbf_dataset.sources.base import RawCase


def part_at_step(step: Step) -> Step:
    """Leave out the cells of the plate, which lies below z = 0, and the nodes of theirs alone."""
    cells = step.cells[step.points[step.cells, 2].mean(axis=1) > 0.0]
    used = np.zeros(len(step.points), np.bool_)
    used[cells] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    fields = {name: values[used] for name, values in step.fields.items()}
    return replace(step, points=step.points[used], cells=number[cells], fields=fields)


def part_or_damage(step: Step | DamagedStep) -> Step | DamagedStep:
    """Leave out the plate as `part_at_step`; a step of nothing else is damaged."""
    if isinstance(step, DamagedStep):
        return step
    part = part_at_step(step)
    if not len(part.cells):
        error = CaseError(FailureReason.MALFORMED_FILE, f"result {step.number} has no cell above the plate")
        return DamagedStep(step.number, step.kind, step.time, error)
    return part


def case_steps(raw: RawCase) -> Iterator[CaseStep]:
    """Read the states over a build one at a time, as `lpbf_dataset.Case.steps` of a store has them.

    Parameters
    ----------
    raw : RawCase
        The simulation.

    Yields
    ------
    CaseStep
        In order of time, with all fields of the simulation; without nodes where the step is damaged.

    Raises
    ------
    CaseError
        If no step can be read.
    """
    group = 0
    variables: Mapping[str, NDArray[np.generic]]
    for index, step in enumerate(map(part_or_damage, raw.history())):
        group += step.kind == "deposited"
        if isinstance(step, DamagedStep):
            variables = _no_nodes(("points", "cells", *raw.field_names()))
            height, fault = np.nan, str(step.error)
        else:
            variables = {"points": step.points, "cells": step.cells, **step.fields}
            height, fault = float(step.points[:, 2].max()), ""
        yield CaseStep(
            raw.case_id,
            raw.design_id,
            raw.source,
            variables,
            index=index,
            kind=step.kind,
            time=step.time,
            height=height,
            group=group,
            fault=fault,
        )


def _no_nodes(names: Iterable[str]) -> Mapping[str, NDArray[np.generic]]:
    known = (VARIABLES[name] for name in names)
    return {variable.name: np.empty((0, *variable.row_shape), variable.dtype) for variable in known}
