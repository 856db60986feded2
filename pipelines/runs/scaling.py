"""Between a case in physical units and what a model sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from lpbf_dataset.schema import FEATURE_VARIABLES, MESH_VARIABLES, VARIABLES, component_names, resolve_scalar
from pipelines.console import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset


def scalar_targets(names: Sequence[str]) -> tuple[str, ...]:
    """Spell vectors and tensors out into their components: displacement is three targets.

    Raises
    ------
    UserError
        If there is no field of a name, or one is named twice.
    """
    targets: list[str] = []
    for name in names:
        try:
            variable, component = resolve_scalar(name)
        except KeyError as error:
            raise UserError(f"--targets: {error.args[0]}") from None
        if variable in (*MESH_VARIABLES, *FEATURE_VARIABLES):
            raise UserError(f"--targets: {name!r} is part of the geometry, not a field to predict")
        components = () if component is not None else component_names(VARIABLES[variable])
        targets += [f"{name}_{suffix}" for suffix in components] or [name]
    if not targets:
        raise UserError("--targets: name one field at least")
    if repeated := {target for target in targets if targets.count(target) > 1}:
        raise UserError(f"--targets: {', '.join(sorted(repeated))} is named twice")
    return tuple(targets)


@dataclass(frozen=True)
class Scaling:
    """Inputs are positions over fixed lengths; outputs are standardised targets.

    Standardising is affine with the mean and standard deviation over the nodes of the training
    split, so `decode` restores physical units exactly, up to rounding.

    Parameters
    ----------
    targets : tuple of str
        Scalar fields, one output channel each, for example ``("displacement_z",)``.
    mean, std : tuple of float
        Of each target over the training split, in its unit.
    coordinate_scale : tuple of float
        What x, y and z are divided by, in mm.
    """

    targets: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    coordinate_scale: tuple[float, float, float]

    @classmethod
    def of_store(
        cls, store: Dataset, targets: Sequence[str], coordinate_scale: tuple[float, float, float]
    ) -> Self:
        """Scaling by the training-split statistics of a store.

        Raises
        ------
        UserError
            If the store does not hold a target, or a target is constant.
        """
        columns = [resolve_scalar(target) for target in targets]
        for target, (variable, _) in zip(targets, columns, strict=True):
            if variable not in store.variables:
                raise UserError(
                    f"--targets: the store holds no {variable!r} for {target!r}; it holds "
                    f"{', '.join(name for name in store.variables if name not in MESH_VARIABLES)}"
                )
        moments = [store.normalization[variable] for variable, _ in columns]
        at = [() if component is None else component for _, component in columns]
        mean = tuple(float(moment.mean[index]) for moment, index in zip(moments, at, strict=True))
        std = tuple(float(moment.std[index]) for moment, index in zip(moments, at, strict=True))
        for target, spread in zip(targets, std, strict=True):
            if not spread > 0:
                raise UserError(f"--targets: {target!r} is the same on every training node, nothing to learn")
        return cls(tuple(targets), mean, std, coordinate_scale)

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables of the store that inputs and targets are made of."""
        return tuple(dict.fromkeys(["points", *(resolve_scalar(target)[0] for target in self.targets)]))

    def inputs(self, case: Case) -> NDArray[np.float32]:
        """Positions over `coordinate_scale`, (nodes, 3) float32."""
        return np.divide(case.points, self.coordinate_scale, dtype=np.float32)

    def truth(self, case: Case) -> NDArray[np.float32]:
        """Targets in their units, (nodes, targets) float32."""
        return np.stack([case.scalar(target) for target in self.targets], axis=1)

    def encode(self, truth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise targets, (nodes, targets) float32."""
        return ((truth - np.array(self.mean)) / np.array(self.std)).astype(np.float32)

    def decode(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo `encode`: targets in their units, (nodes, targets) float32."""
        return (outputs * np.array(self.std) + np.array(self.mean)).astype(np.float32)
