"""Floors: predictions without a neural network, which a surrogate has to beat to be worth its training.

A floor sees one node at a time.  It is fitted in one go to a sample of training nodes, on the CPU, by
scikit-learn where there is something to compute.

Shape suffixes: B cases, N nodes, C input channels, O output channels, A nodes of all cases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from baselines.checks import check_sizes
from baselines.convention import check_batch
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float32]


@dataclass(frozen=True)
class MeanFieldConfig:
    """The mean field has no options.

    Parameters
    ----------
    in_channels, out_channels : int
        Features and targets per node.

    Raises
    ------
    ValueError
        If one is not a positive integer.
    """

    in_channels: int
    out_channels: int

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels")


@dataclass(frozen=True)
class NearestNeighborsConfig:
    """Options of `NearestNeighbors`.

    Parameters
    ----------
    in_channels, out_channels : int
        Features and targets per node.
    neighbors : int
        Training nodes over which a prediction is the mean; scikit-learn's default.

    Raises
    ------
    ValueError
        If one is not a positive integer.
    """

    in_channels: int
    out_channels: int
    neighbors: int = 5

    def __post_init__(self) -> None:
        check_sizes(self, *vars(self))


@dataclass(frozen=True)
class BoostedTreesConfig:
    """Options of `BoostedTrees`; the defaults are scikit-learn's.

    Parameters
    ----------
    in_channels, out_channels : int
        Features and targets per node.
    trees : int
        Trees for each target.
    leaves : int
        Largest number of leaves of a tree, at least 2.
    learning_rate : float
        Share of what a tree predicts that is added.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    in_channels: int
    out_channels: int
    trees: int = 100
    leaves: int = 31
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        check_sizes(self, *(name for name in vars(self) if name != "learning_rate"))
        if self.leaves < 2:
            raise ValueError(f"leaves must be at least 2, not {self.leaves}")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(f"learning_rate must be over 0 and at most 1, not {self.learning_rate}")


class Floor(nn.Module, ABC):
    """A regressor of nodes that follows `baselines.convention.FieldModel`; it has no gradients.

    Parameters
    ----------
    in_channels, out_channels : int
        Features and targets per node.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self._in_channels = in_channels
        self._out_channels = out_channels

    def fit(self, inputs_AC: Array, targets_AO: Array) -> Self:
        """Fit to nodes; the same nodes give the same floor.

        Parameters
        ----------
        inputs_AC : (A, C) float32 ndarray
            Features of nodes of any cases.
        targets_AO : (A, O) float32 ndarray
            What is to be predicted there.

        Raises
        ------
        ValueError
            If shapes do not fit, a value is not finite, or there are too few nodes.
        """
        count = len(inputs_AC)
        expected = (count, self._in_channels), (count, self._out_channels)
        if (inputs_AC.shape, targets_AO.shape) != expected or not count:
            raise ValueError(
                f"inputs and targets have shapes {inputs_AC.shape} and {targets_AO.shape}; "
                f"expected {expected[0]} and {expected[1]}, with at least one node"
            )
        if not (np.isfinite(inputs_AC).all() and np.isfinite(targets_AO).all()):
            raise ValueError("inputs and targets must be finite")
        self._fit(inputs_AC, targets_AO)
        return self

    @abstractmethod
    def predict(self, inputs_AC: Array) -> NDArray[np.floating]:
        """Predict the targets of nodes, (A, O), from their features, (A, C) float32."""

    @abstractmethod
    def _fit(self, inputs_AC: Array, targets_AO: Array) -> None: ...

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self._in_channels)
        real_BN = torch.ones_like(x_BNC[..., 0], dtype=torch.bool) if mask_BN is None else mask_BN
        predicted_AO = self.predict(x_BNC[real_BN].float().numpy(force=True))
        y_BNO = x_BNC.new_zeros(*real_BN.shape, self._out_channels)
        y_BNO[real_BN] = torch.from_numpy(predicted_AO).to(y_BNO)
        return y_BNO


class MeanField(Floor):
    """The mean of each target over the training nodes, everywhere."""

    def __init__(self, config: MeanFieldConfig) -> None:
        super().__init__(config.in_channels, config.out_channels)

    def _fit(self, inputs_AC: Array, targets_AO: Array) -> None:  # noqa: ARG002
        self._mean_O = targets_AO.mean(axis=0, dtype=np.float64)

    def predict(self, inputs_AC: Array) -> NDArray[np.floating]:
        """Predict the mean."""
        return np.tile(self._mean_O, (len(inputs_AC), 1))


class NearestNeighbors(Floor):
    """The mean over the training nodes nearest in feature space, weighted by inverse distance.

    Features are standardised first, so that each counts alike whatever its unit.
    """

    def __init__(self, config: NearestNeighborsConfig) -> None:
        super().__init__(config.in_channels, config.out_channels)
        self._neighbors = config.neighbors

    def _fit(self, inputs_AC: Array, targets_AO: Array) -> None:
        if len(inputs_AC) < self._neighbors:
            raise ValueError(f"neighbors={self._neighbors}, but there are only {len(inputs_AC)} nodes")
        regressor = KNeighborsRegressor(self._neighbors, weights="distance")
        self._regressor = make_pipeline(StandardScaler(), regressor).fit(inputs_AC, targets_AO)

    def predict(self, inputs_AC: Array) -> NDArray[np.floating]:
        """Predict from the nearest training nodes."""
        predicted: NDArray[np.floating] = self._regressor.predict(inputs_AC)
        return predicted


class BoostedTrees(Floor):
    """Gradient-boosted regression trees on histograms of the features, for each target by itself."""

    def __init__(self, config: BoostedTreesConfig) -> None:
        super().__init__(config.in_channels, config.out_channels)
        self._config = config

    def _fit(self, inputs_AC: Array, targets_AO: Array) -> None:
        self._regressors = [
            HistGradientBoostingRegressor(
                max_iter=self._config.trees,
                max_leaf_nodes=self._config.leaves,
                learning_rate=self._config.learning_rate,
                # It would hold out nodes of cases that the others are of as well.
                early_stopping=False,
                # Of the nodes from which it makes the histograms.
                random_state=0,
            ).fit(inputs_AC, target_A)
            for target_A in targets_AO.T
        ]

    def predict(self, inputs_AC: Array) -> NDArray[np.floating]:
        """Predict each target by its trees."""
        return np.stack([regressor.predict(inputs_AC) for regressor in self._regressors], axis=1)


_LICENCE = "BSD-3-Clause, scikit-learn.org"

FLOORS: dict[str, ModelEntry[Any]] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="mean_field",
            config_type=MeanFieldConfig,
            build=MeanField,
            published_parameters=None,
            citation="The mean over the training nodes, everywhere; of no paper",
            licence="none",
        ),
        ModelEntry(
            name="knn",
            config_type=NearestNeighborsConfig,
            build=NearestNeighbors,
            published_parameters=None,
            citation=(
                "Cover, Hart: Nearest neighbor pattern classification. IEEE Transactions on Information "
                "Theory 13, 1967. doi 10.1109/TIT.1967.1053964"
            ),
            licence=_LICENCE,
        ),
        ModelEntry(
            name="boosted_trees",
            config_type=BoostedTreesConfig,
            build=BoostedTrees,
            published_parameters=None,
            citation=(
                "Friedman: Greedy function approximation: a gradient boosting machine. Annals of Statistics "
                "29, 2001. doi 10.1214/aos/1013203451; on histograms as in Ke et al.: LightGBM. NeurIPS 2017"
            ),
            licence=_LICENCE,
        ),
    )
}
"""Every floor, by name; built, they are instances of `Floor`."""
