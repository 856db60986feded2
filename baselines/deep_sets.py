"""Deep Sets: layers in which a node sees, besides itself, the maximum over its case.

Shape suffixes: B cases, N nodes, C input channels, W hidden channels, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from baselines.checks import check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DeepSetsConfig:
    """Size of a Deep Sets network; the defaults are those of the paper's point clouds.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of the layers.
    num_layers : int
        Permutation-equivariant layers.

    Raises
    ------
    ValueError
        If one is not a positive integer.
    """

    in_channels: int
    out_channels: int
    channels: int = 256
    num_layers: int = 3

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_layers")


class EquivariantLayer(nn.Module):
    """``tanh(x L + b - max(x) G)``, the maximum over the nodes of a case (lemma 3 of the paper)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.own = nn.Linear(in_channels, out_channels)
        self.pooled = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C) to (B, N, W); `mask_BN` is True on real nodes."""
        real_BNC = x_BNC if mask_BN is None else x_BNC.masked_fill(~mask_BN[..., None], float("-inf"))
        return torch.tanh(self.own(x_BNC) - self.pooled(real_BNC.amax(dim=1, keepdim=True)))


class DeepSets(nn.Module):
    """Permutation-equivariant layers and an MLP on each node.

    Follows `baselines.convention.FieldModel`.  The network of the paper's point clouds, whose pooling
    before the MLP is left out, since the output is one per node, and dropout with it.

    Parameters
    ----------
    config : DeepSetsConfig
        Size of the model.

    References
    ----------
    Zaheer et al., "Deep Sets", NeurIPS 2017, arXiv 1703.06114, lemma 3.
    """

    def __init__(self, config: DeepSetsConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.in_channels, *[config.channels] * (config.num_layers - 1)]
        self.layers = nn.ModuleList([EquivariantLayer(width, config.channels) for width in widths])
        self.head = nn.Sequential(
            nn.Linear(config.channels, config.channels),
            nn.Tanh(),
            nn.Linear(config.channels, config.out_channels),
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNW = zero_padding(x_BNC, mask_BN)
        for layer in self.layers:
            h_BNW = layer(h_BNW, mask_BN)
        return zero_padding(self.head(h_BNW), mask_BN)


ENTRY = ModelEntry(
    name="deep_sets",
    config_type=DeepSetsConfig,
    build=DeepSets,
    published_parameters=None,
    citation=(
        "Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov, Smola: Deep Sets. NeurIPS 2017. arXiv 1703.06114"
    ),
    licence="none given, github.com/manzilzaheer/DeepSets",
)
