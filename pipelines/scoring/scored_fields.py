"""Which fields are scored: every target, and vectors of which every component is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.schema import VARIABLES, component_names, resolve_scalar

if TYPE_CHECKING:
    from collections.abc import Sequence


def scored_fields(targets: Sequence[str]) -> dict[str, int | list[int]]:
    """Find the fields to score by their columns among targets.

    Parameters
    ----------
    targets : sequence of str
        Scalar fields that are predicted.

    Returns
    -------
    dict
        Each target with its column, then each vector with the columns of its components in order.  Of tensors
        there are only components: a norm of six would count shear once where the tensor has it twice.
    """
    fields: dict[str, int | list[int]] = {target: column for column, target in enumerate(targets)}
    for variable in dict.fromkeys(resolve_scalar(target)[0] for target in targets):
        components = [f"{variable}_{suffix}" for suffix in component_names(VARIABLES[variable])]
        if len(components) == 3 and set(components) <= set(targets):
            fields[variable] = [targets.index(component) for component in components]
    return fields
