"""Geometry features of nodes as inputs of a model, besides positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.schema import FEATURE_VARIABLES, VARIABLES
from pipelines.console import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset

POSITION_CHANNELS = 3
"""Inputs of every model: the scaled position of a node."""


def check_features(names: Sequence[str]) -> None:
    """Raise `UserError` unless these are geometry features, each named once."""
    for name in names:
        if name not in FEATURE_VARIABLES:
            raise UserError(
                f"--features: no geometry feature named {name!r}; there are {', '.join(FEATURE_VARIABLES)}"
            )
        if list(names).count(name) > 1:
            raise UserError(f"--features: {name} is named twice")


def check_stored_features(names: Sequence[str], store: Dataset) -> None:
    """Raise `UserError` if a store lacks a feature."""
    if absent := [name for name in names if name not in store.variables]:
        raise UserError(
            f"--features: {store.location} holds no {', '.join(absent)}; "
            f"add the features with: lpbf-build --recompute sdf {store.location}"
        )


def input_channels(features: Sequence[str]) -> int:
    """Count the inputs of a model that sees positions and these features."""
    return POSITION_CHANNELS + sum(int(np.prod(VARIABLES[name].row_shape)) for name in features)


def feature_columns(case: Case, names: Sequence[str], scale: float) -> list[NDArray[np.float32]]:
    """Arrange features as inputs.

    Parameters
    ----------
    case : lpbf_dataset.Case
        With these features.
    names : sequence of str
        Of `lpbf_dataset.schema.FEATURE_VARIABLES`.
    scale : float
        What lengths are divided by, in mm.

    Returns
    -------
    list of (nodes, channels) float32 ndarray
        One per feature: ``sdf`` 1 and ``axis_distance`` 6 channels, over the scale; ``sdf_direction`` 3, of
        length one; ``on_surface`` 1, zero or one.
    """
    columns = []
    for name in names:
        values = case.variables[name].reshape(case.node_count, -1).astype(np.float32)
        columns.append(values / np.float32(scale) if VARIABLES[name].units == "mm" else values)
    return columns
