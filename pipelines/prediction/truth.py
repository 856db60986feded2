"""A prediction beside the truth: that of the embedded solver, or of the store that a case comes from."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import trimesh

from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.schema import resolve_scalar
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.steps import HistoryInMemory, Steps
from pipelines.prediction.build import step_errors
from pipelines.scoring.metrics import score
from pipelines.scoring.scored_fields import scored_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lpbf_dataset.simulation.job import PartSetup
    from lpbf_dataset.steps import CaseStep
    from pipelines.prediction.predict import Predictor
    from pipelines.prediction.prediction import Prediction

MESHING = frozenset({"voxels", "mesh"})
"""Stages of the solver that a prediction needs as well."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What a prediction should have been.

    Parameters
    ----------
    origin : {"solver", "store"}
        What computed it.
    fields : mapping of str to ndarray
        By the names of `lpbf_dataset.schema.VARIABLES`, on the nodes of the predicted case.
    scores : mapping of str to mapping of str to float
        Metrics of each target, and of vectors all of whose components are targets.
    solver_seconds : float or None
        Wall time of the solver, once loaded, meshing apart; None for a case of a store.
    surrogate_seconds : float or None
        Wall time of the features and of the model on the same machine, likewise apart, once warm.
    steps : sequence of CaseStep
        The true states over the build, in which those of `Prediction.build` are at their `index`; empty where
        no build is predicted.
    step_errors : mapping of str to sequence of float
        Relative L2 error of the fields of `scores` at each step of `Prediction.build`; empty without these.
    """

    origin: Literal["solver", "store"]
    fields: Mapping[str, NDArray[np.floating]]
    scores: Mapping[str, Mapping[str, float]]
    solver_seconds: float | None = None
    surrogate_seconds: float | None = None
    steps: Sequence[CaseStep] = ()
    step_errors: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def speed_up(self) -> float | None:
        """How many times faster the prediction was; None where nothing was simulated."""
        if self.solver_seconds is None or not self.surrogate_seconds:
            return None
        return self.solver_seconds / self.surrogate_seconds

    def scalar(self, name: str) -> NDArray[np.floating]:
        """Return a true field by the name of a target, (nodes,)."""
        variable, component = resolve_scalar(name)
        values = self.fields[variable]
        return values if component is None else values[:, component]


def stored_truth(prediction: Prediction) -> Truth | None:
    """Return the truth that a case of a store carries; None where it lacks a target."""
    needed = _variables(prediction)
    if not set(needed) <= set(prediction.case.variables):
        return None
    fields = {name: np.asarray(prediction.case.variables[name]) for name in needed}
    truth = Truth("store", fields, _scores(prediction, fields))
    return _over_steps(truth, prediction, prediction.case.steps)


def simulated_truth(prediction: Prediction, predictor: Predictor, setup: PartSetup) -> Truth:
    """Run the embedded solver on a predicted part.

    Parameters
    ----------
    prediction : Prediction
        Of a part.
    predictor : Predictor
        What made it; it is asked once more, so that its time does not include that of loading kernels.
    setup : PartSetup
        Material and settings.

    Raises
    ------
    CaseError
        If the solver cannot.
    """
    placed = prediction.placed
    assert placed is not None, "a case of a store has its truth with it"
    _load_solver()
    started = time.perf_counter()
    simulation = simulate(placed.surface, setup.material, setup.settings)
    wall = time.perf_counter() - started
    solver_seconds = wall - sum(simulation.log.seconds[stage] for stage in MESHING)
    # Pictures are deformed by the displacement, whatever is predicted.
    needed = tuple(dict.fromkeys(("displacement", *_variables(prediction))))
    simulated = simulation.steps if prediction.build else simulation.steps[-1:]
    steps = Steps(prediction.case, HistoryInMemory(*lay_out_history(simulated, needed)))
    last = steps[prediction.build[-1].index if prediction.build else -1]
    assert np.array_equal(last.points, prediction.case.points)
    assert np.array_equal(last.cells, prediction.case.cells)
    fields = {name: np.asarray(last.variables[name], np.float32) for name in needed}
    again = predictor.timed_again(prediction)
    truth = Truth("solver", fields, _scores(prediction, fields), solver_seconds, again)
    return _over_steps(truth, prediction, steps)


@functools.cache
def _load_solver() -> None:
    """Load what the solver is compiled to, once in a process, so that its time is that of the part alone."""
    simulate(trimesh.creation.box(extents=(4.0, 4.0, 4.0)), next(iter(MATERIALS.values())))


def _variables(prediction: Prediction) -> tuple[str, ...]:
    """Name the fields that the targets are of."""
    return tuple(dict.fromkeys(resolve_scalar(target)[0] for target in prediction.fields))


def _over_steps(truth: Truth, prediction: Prediction, steps: Sequence[CaseStep]) -> Truth:
    if not prediction.build:
        return truth
    truths = (steps[step.index] for step in prediction.build)
    errors = step_errors(prediction.build, truths, list(prediction.fields))
    return replace(truth, steps=steps, step_errors=errors)


def _scores(prediction: Prediction, truth: Mapping[str, NDArray[np.floating]]) -> dict[str, dict[str, float]]:
    targets = list(prediction.fields)
    columns = np.column_stack([prediction.fields[target] for target in targets])
    scores = {}
    for name, column in scored_fields(targets).items():
        variable, component = resolve_scalar(name)
        true = truth[variable] if component is None else truth[variable][:, component]
        scores[name] = score(columns[:, column], true, name)
    return scores
