"""Steps of builds as samples to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pipelines.runs.mesh_view import levels_folder
from pipelines.steps.carry import Carry, carry
from pipelines.steps.encoding import step_inputs, step_targets
from pipelines.steps.transitions import StepReader, carried, transitions
from pipelines.training.batching import Draw
from pipelines.training.data import Earlier, Sample, Samples, SizedSamples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.checkpoint import Description
    from pipelines.steps.tasks import StepTask
    from pipelines.training.variation import Variation

_NOISE = 1
"""Tells the drawing of noise from that of the variation of the same sample."""


def make_samples(
    cases: Dataset,
    description: Description,
    variation: Variation | None = None,
    *,
    state_noise: float = 0.0,
    pushforward: bool = False,
) -> SizedSamples:
    """Return what a model learns from: the cases of a view, or the steps of their builds."""
    if description.task is None:
        return Samples(cases, description, variation)
    return StepSamples(
        cases, description, description.task, variation, state_noise=state_noise, pushforward=pushforward
    )


class StepSamples(SizedSamples):
    """The steps of all cases of a view of a store, as `pipelines.training.data.Samples` has the cases.

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
    pushforward : bool
        Whether samples come with the step before.
    """

    def __init__(
        self,
        cases: Dataset,
        description: Description,
        task: StepTask,
        variation: Variation | None = None,
        *,
        state_noise: float = 0.0,
        pushforward: bool = False,
    ) -> None:
        self._cases = cases
        self._description = description
        self._task = task
        self._variation = variation
        self._state_noise = state_noise
        self._pushforward = pushforward
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
        position = key.position if isinstance(key, Draw) else key
        sample = self._sample(position, key, self._state_noise)
        return sample._replace(earlier=self._earlier(position, key, sample)) if self._pushforward else sample

    def _earlier(self, position: int, key: int | Draw, sample: Sample) -> Earlier:
        """Return the step before, varied alike; of a first step itself, to add nothing."""
        transition = self.transitions[position]
        if transition.before is None:
            nodes = len(sample.inputs)
            return Earlier(sample, Carry(np.zeros((nodes, 8), np.int32), np.zeros((nodes, 8), np.float32)))
        case = self._cases.read(transition.case, self._reader.variables)
        before, step = (self._reader.state(case, index) for index in (transition.before, transition.step))
        # Transitions of a case follow one another.
        return Earlier(self._sample(position - 1, key, 0), carry(before, step))

    def _sample(self, position: int, key: int | Draw, state_noise: float) -> Sample:
        """Return a step, varied as drawn."""
        transition = self.transitions[position]
        case = self._cases.read(transition.case, self._reader.variables)
        (step,) = self._reader.steps(case, [transition.step])
        before = None
        if self._task.sees_state and transition.before is not None:
            before = self._reader.state(case, transition.before)
        # Coarser graphs are kept for the mesh as it is stored.
        mesh = self._description.mesh_view.of_case(step, self._levels_folder)
        known = carried(before, step) if self._task.sees_state else None
        if self._variation and isinstance(key, Draw):
            step, known = self._variation.of(step, key), known and self._variation.of(known, key)
            mesh = mesh and mesh._replace(points=step.points)
        state = None
        if known is not None:
            state = self._description.scaling.truth(known)
            if state_noise and before is not None and isinstance(key, Draw):
                state += state_noise * self._noise(key, known.node_count)
        return Sample(
            f"{case.case_id}, step {transition.step}",
            torch.from_numpy(step_inputs(self._description, step, before, state)),
            torch.from_numpy(step_targets(self._description, step, state)),
            mesh,
        )

    def _noise(self, key: Draw, nodes: int) -> NDArray[np.float32]:
        """Draw noise of one standard deviation of each target, (nodes, targets) in their units."""
        assert self._variation is not None
        scale = np.array(self._task.state_std, np.float32)
        of_draw = (key.epoch, key.position, _NOISE)
        generator = np.random.default_rng(np.random.SeedSequence(self._variation.seed, spawn_key=of_draw))
        noise = generator.standard_normal((nodes, len(scale)), np.float32)
        return scale * noise
