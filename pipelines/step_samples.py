"""Steps of builds as samples to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pipelines.batching import Draw
from pipelines.data import Sample, Samples, SizedSamples
from pipelines.mesh_view import levels_folder
from pipelines.step_encoding import step_inputs, step_targets
from pipelines.transitions import StepReader, carried, transitions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.store.reader import Dataset
    from pipelines.checkpoint import Description
    from pipelines.tasks import StepTask
    from pipelines.variation import Variation

_NOISE = 1
"""Tells the drawing of noise from that of the variation of the same sample."""


def make_samples(
    cases: Dataset, description: Description, variation: Variation | None = None, state_noise: float = 0.0
) -> SizedSamples:
    """Return what a model learns from: the cases of a view, or the steps of their builds."""
    if description.task is None:
        return Samples(cases, description, variation)
    return StepSamples(cases, description, description.task, variation, state_noise)


class StepSamples(SizedSamples):
    """The steps of all cases of a view of a store, as `pipelines.data.Samples` has the cases themselves.

    Each lies on its own mesh, so no node is of what is not yet built.

    Parameters
    ----------
    cases : lpbf_dataset.Dataset
        With a history.
    description : Description
        What the model takes.
    task : StepTask
        Of the description.
    variation : Variation, optional
        What differs between epochs; the state before a step varies alike.
    state_noise : float
        Standard deviation of the noise on the state before, in standard deviations of each target, drawn anew
        in every epoch.  The increment to learn leads from there to the true state after.
    """

    def __init__(
        self,
        cases: Dataset,
        description: Description,
        task: StepTask,
        variation: Variation | None = None,
        state_noise: float = 0.0,
    ) -> None:
        self._cases = cases
        self._description = description
        self._task = task
        self._variation = variation
        self._state_noise = state_noise
        self._reader = StepReader.of(description)
        self._levels_folder = levels_folder(cases)
        self.transitions = list(transitions(cases, across_removal=task.across_removal))

    def __len__(self) -> int:
        return len(self.transitions)

    @property
    def node_counts(self) -> NDArray[np.int64]:
        """Nodes of each step when varied, (steps,) int64."""
        counts = np.array([transition.nodes for transition in self.transitions], np.int64)
        subsample = self._variation.subsample if self._variation else 0
        return np.minimum(counts, subsample) if subsample else counts

    def __getitem__(self, key: int | Draw) -> Sample:
        transition = self.transitions[key.position if isinstance(key, Draw) else key]
        case = self._cases.read(transition.case, self._reader.variables)
        wanted = [index for index in (transition.before, transition.step) if index is not None]
        *earlier, step = self._reader.steps(case, wanted if self._task.sees_state else wanted[-1:])
        before = earlier[0] if earlier else None
        # Coarser graphs are kept for the mesh as it is stored.
        mesh = self._description.mesh_view.of_case(step, self._levels_folder)
        known = carried(before, step) if self._task.sees_state else None
        if self._variation and isinstance(key, Draw):
            step, known = self._variation.of(step, key), known and self._variation.of(known, key)
            mesh = mesh and mesh._replace(points=step.points)
        state = None
        if known is not None:
            noise = self._noise(key, known.node_count) if before is not None else 0
            state = self._description.scaling.truth(known) + noise
        return Sample(
            f"{case.case_id}, step {transition.step}",
            torch.from_numpy(step_inputs(self._description, step, before, state)),
            torch.from_numpy(step_targets(self._description, step, state)),
            mesh,
        )

    def _noise(self, key: int | Draw, nodes: int) -> NDArray[np.float32]:
        """Draw the noise on the state before a step, (nodes, targets) in the units of the targets."""
        scale = np.array(self._task.state_std, np.float32)
        if not (self._state_noise and isinstance(key, Draw)):
            return np.zeros((nodes, len(scale)), np.float32)
        assert self._variation is not None
        of_draw = (key.epoch, key.position, _NOISE)
        generator = np.random.default_rng(np.random.SeedSequence(self._variation.seed, spawn_key=of_draw))
        noise = generator.standard_normal((nodes, len(scale)), np.float32)
        return self._state_noise * scale * noise
