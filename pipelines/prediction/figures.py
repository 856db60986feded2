"""The figures of a predicted part, as JSON and as a row of the table of a batch."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.mesh import cell_volumes
from lpbf_dataset.schema import VARIABLES, resolve_scalar
from pipelines.prediction.known_errors import known_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lpbf_dataset.distortion.deviation import Deviation
    from lpbf_dataset.distortion.magnitude import Magnitude
    from pipelines.prediction.assessment import Assessment
    from pipelines.prediction.predict import Predictor

TABLE = ("part", "status", "max_mm", "p95_mm", "rms_mm", "beyond_tolerance", "nodes", "warnings")
"""Columns of every table; those of `OPTIONAL` follow where some part has them."""

OPTIONAL = ("std_at_max_mm", "compensated_rms_mm", "simulated_max_mm", "relative_l2", "speed_up", "detail")


def figures(assessment: Assessment, predictor: Predictor) -> dict[str, Any]:
    """Return everything that is told of a part, as JSON values; lengths in mm, times in s."""
    prediction = assessment.prediction
    case, settings = prediction.case, predictor.setup.settings
    return {
        "part": case.case_id,
        "run": str(predictor.run.path),
        "members": predictor.run.members,
        "axes": prediction.axes,
        "tolerance_mm": assessment.options.tolerance,
        "displacement": _displacement(assessment),
        "fields": _fields(prediction.fields),
        "build": _build(assessment),
        "mesh": {
            "nodes": case.node_count,
            "cells": case.cell_count,
            # A case of a store was meshed elsewhere.
            "cell_height_mm": settings.cell_height if prediction.placed else None,
            "size_mm": np.ptp(case.points, axis=0).astype(float).tolist(),
            "volume_mm3": float(cell_volumes(case.points, case.cells).sum()),
        },
        "compensation": _compensation(assessment),
        "truth": _truth(assessment),
        "known_errors": known_errors(predictor.run),
        "warnings": list(assessment.warnings),
        "seconds": dict(prediction.seconds),
    }


def table_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table of parts has of the figures of one."""
    moved = values["displacement"] or {}
    compensation, truth = values["compensation"] or {}, values["truth"] or {}
    # The vector says more than its components; it comes last where there is one.
    scores = list((truth.get("scores") or {"": {}}).values())[-1]
    return {
        "part": values["part"],
        "status": "predicted",
        "max_mm": moved.get("max_mm"),
        "p95_mm": moved.get("p95_mm"),
        "rms_mm": moved.get("rms_mm"),
        "beyond_tolerance": moved.get("beyond_tolerance"),
        "nodes": values["mesh"]["nodes"],
        "warnings": len(values["warnings"]),
        "std_at_max_mm": moved.get("std_at_max_mm"),
        "compensated_rms_mm": (compensation.get("after") or {}).get("rms_mm"),
        "simulated_max_mm": (truth.get("displacement") or {}).get("max_mm"),
        "relative_l2": scores.get("relative_l2"),
        "speed_up": truth.get("speed_up"),
    }


def _fields(fields: Mapping[str, NDArray[np.floating]]) -> dict[str, Any]:
    return {
        name: {
            "min": float(values.min()),
            "max": float(values.max()),
            "unit": VARIABLES[resolve_scalar(name)[0]].units,
        }
        for name, values in fields.items()
    }


def _build(assessment: Assessment) -> dict[str, Any] | None:
    prediction = assessment.prediction
    if not prediction.build:
        return None
    on_plate = prediction.last_on_plate
    return {
        "steps": [
            {"kind": step.kind, "time_s": step.time, "height_mm": step.height} for step in prediction.build
        ],
        "is_on_plate": prediction.is_on_plate,
        "on_plate": {
            "step": prediction.build.index(on_plate),
            "displacement": assessment.on_plate and _magnitude(assessment.on_plate),
            "fields": _fields({name: on_plate.scalar(name) for name in prediction.fields}),
        },
    }


def _displacement(assessment: Assessment) -> dict[str, Any] | None:
    if assessment.magnitude is None:
        return None
    values = _magnitude(assessment.magnitude)
    values["at_mm"] = assessment.place.tolist()
    if assessment.spread is not None:
        values["std_at_max_mm"] = float(assessment.spread[assessment.magnitude.vertex])
        values["std_max_mm"] = float(assessment.spread.max())
    return values


def _magnitude(magnitude: Magnitude) -> dict[str, Any]:
    names = {"max_mm": "maximum", "p95_mm": "p95", "rms_mm": "rms", "beyond_tolerance": "beyond"}
    every = asdict(magnitude)
    return {name: every[attribute] for name, attribute in names.items()}


def _compensation(assessment: Assessment) -> dict[str, Any] | None:
    compensation = assessment.compensation
    if compensation is None:
        return None
    return {
        "iterations": len(compensation.iterates) - 1,
        "before": _deviation(compensation.before),
        "after": _deviation(compensation.after),
        "held_vertices": compensation.best.damped,
    }


def _deviation(deviation: Deviation) -> dict[str, float]:
    return {"rms_mm": deviation.rms, "p95_mm": deviation.p95, "max_mm": deviation.maximum}


def _truth(assessment: Assessment) -> dict[str, Any] | None:
    truth, true_magnitude = assessment.truth, assessment.true_magnitude
    if truth is None:
        return None
    return {
        "origin": truth.origin,
        "displacement": true_magnitude and _magnitude(true_magnitude),
        "scores": {name: dict(scores) for name, scores in truth.scores.items()},
        "solver_seconds": truth.solver_seconds,
        "surrogate_seconds": truth.surrogate_seconds,
        "speed_up": truth.speed_up,
        "step_errors": {name: list(errors) for name, errors in truth.step_errors.items()},
    }
