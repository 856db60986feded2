"""What differs between the epochs in which a model sees a training case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lpbf_dataset.schema import VARIABLES
from pipelines.training.augmentation import symmetry_group, turn

if TYPE_CHECKING:
    from lpbf_dataset import Case
    from pipelines.training.batching import Draw

    CaseT = TypeVar("CaseT", bound=Case)


@dataclass(frozen=True)
class Variation:
    """Symmetries of a case, and a subset of its nodes.

    Parameters
    ----------
    seed : int
        Of all drawing, with epoch and position of the case: neither the order in which cases are read nor
        the process that reads them matters.
    symmetries : tuple of str
        Those that generate the group of which an element is drawn, see `pipelines.training.augmentation`.
    subsample : int
        Nodes to keep at most, drawn without replacement and left in their order; 0 keeps all.
    """

    seed: int
    symmetries: tuple[str, ...] = ()
    subsample: int = 0

    def of(self, case: CaseT, draw: Draw) -> CaseT:
        """Vary a case as drawn for an epoch.  If nodes are left out, so are cells and edges."""
        key = (draw.epoch, draw.position)
        generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        group = symmetry_group(self.symmetries)
        chosen = generator.integers(len(group))
        if chosen:
            case = turn(case, group[chosen])
        if 0 < self.subsample < case.node_count:
            nodes = np.sort(generator.choice(case.node_count, self.subsample, replace=False))
            on_nodes = {
                name: values for name, values in case.variables.items() if VARIABLES[name].dim == "node"
            }
            case = replace(case, variables={name: values[nodes] for name, values in on_nodes.items()})
        return case
