"""Time of a sample of a step of a build, beside that of the training step that it is for.

Draws steps of the training split of a store with histories, as ``lpbf-train flare --task next-step`` with the
small recipe does, and times for each of them in turn

- sample: `pipelines.steps.samples.StepSamples`, all of what is read and arranged for it;
- carries: of that, taking over the state before and the geometry features, by nodes that meshes share;
- naive carries: the same by finding the cell around every node, for every field and both steps;
- training step: forward, backward and AdamW, in float32.

    python benchmarks/step_samples.py builds.zarr --steps 60 --threads 1
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from synthetic import machine

from lpbf_dataset import open_dataset
from lpbf_dataset.mesh import Interpolator
from pipelines.runs.checkpoint import Description
from pipelines.runs.features import input_channels
from pipelines.steps.carry import carry
from pipelines.steps.description import describe_steps
from pipelines.steps.samples import make_samples
from pipelines.steps.tasks import task_channels
from pipelines.steps.transitions import StepReader
from pipelines.training.batching import Draw
from pipelines.training.data import collate
from pipelines.training.module import relative_l2_loss
from pipelines.training.options import TrainOptions
from pipelines.training.variation import Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from lpbf_dataset import Case, Dataset
    from lpbf_dataset.steps import CaseStep
    from pipelines.steps.transitions import Transition
    from pipelines.training.data import Sample

SIZES = {"channels": 64, "num_blocks": 3, "num_heads": 8, "num_latents": 64}
"""Of ``pipelines/recipes/small.flare.yaml``; the rest is of ``small.yaml``."""

TARGETS = ("displacement_z", "von_mises_stress")
FEATURES = ("sdf", "sdf_direction", "axis_distance")


def describe(store: Dataset) -> Description:
    """Describe the model, and how it sees steps."""
    options = TrainOptions(str(store.location), TARGETS, "next-step", features=FEATURES)
    scaling, task = describe_steps(store, TARGETS, options, "next-step")
    channels = input_channels(FEATURES) + task_channels("next-step", len(TARGETS))
    sizes = {"in_channels": channels, "out_channels": len(TARGETS), **SIZES}
    return Description("flare", sizes, scaling, FEATURES, 15.0, task)


class Carries:
    """Both ways of taking over the state before a step, and the features of the case."""

    def __init__(self, store: Dataset, description: Description) -> None:
        self._cases = store.train
        self._reader = StepReader.of(description)

    def read(self, transition: Transition) -> tuple[Case, CaseStep | None, CaseStep]:
        """Read what they work on."""
        case = self._cases.read(transition.case, self._reader.variables)
        before = None if transition.before is None else self._reader.state(case, transition.before)
        return case, before, self._reader.state(case, transition.step)

    def fast(self, case: Case, before: CaseStep | None, step: CaseStep) -> list[NDArray[np.floating]]:
        """Look nodes up; returns the features, and the fields before."""
        onto_step = carry(case, step)
        values = [onto_step(case.variables[name]) for name in FEATURES]
        if before is not None:
            onto_step = carry(before, step)
            values += [onto_step(before.variables[name]) for name in self._reader.fields]
        return values

    def naive(self, case: Case, before: CaseStep | None, step: CaseStep) -> list[NDArray[np.floating]]:
        """Find cells; returns the same."""
        at = Interpolator(case.points, case.cells)
        values = [at(case.variables[name], step.points).values for name in FEATURES]
        if before is not None:
            for name in FEATURES:
                at(case.variables[name], before.points)
            below = step.points.copy()
            below[:, 2] = np.minimum(below[:, 2], before.points[:, 2].max())
            at = Interpolator(before.points, before.cells)
            values += [at(before.variables[name], below).values for name in self._reader.fields]
        return values


def timed(action: Callable[..., Any], *arguments: Any) -> float:
    """Return the seconds that something takes."""
    start = perf_counter()
    action(*arguments)
    return perf_counter() - start


def measure(store: Dataset, steps: int) -> Iterator[dict[str, float]]:
    """Yield seconds of each kind for one drawn step after another; the first ones warm up."""
    description = describe(store)
    variation = Variation(0, ("mirror_x", "mirror_y", "rotate_z"), 2048)
    samples = make_samples(store.train, description, variation, state_noise=0.02)
    carries = Carries(store, description)
    model = description.build()
    optimizer = torch.optim.AdamW(model.parameters())

    def train(sample: Sample) -> None:
        batch = collate([sample])
        relative_l2_loss(model(batch.inputs), batch.targets).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    for position in np.random.default_rng(0).integers(len(samples), size=steps):
        draw = Draw(int(position), 0)
        states = carries.read(samples.transitions[position])
        yield {
            "sample": timed(samples.__getitem__, draw),
            "carries": timed(carries.fast, *states),
            "naive carries": timed(carries.naive, *states),
            "training step": timed(train, samples[draw]),
        }


def main(argv: Sequence[str] | None = None) -> None:
    """Print medians, and their share of a training step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", help="store with histories and geometry features")
    parser.add_argument("--steps", type=int, default=60, help="steps that are drawn")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    print(machine())
    rows = list(measure(open_dataset(arguments.store), arguments.steps + 3))[3:]
    medians = {name: median(row[name] for row in rows) for name in rows[0]}
    for name, seconds in medians.items():
        print(f"{name:<14}{1e3 * seconds:8.1f} ms{seconds / medians['training step']:8.1%}")


if __name__ == "__main__":
    main()
