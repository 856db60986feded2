"""PointNet for fields: per-node features, one global feature by max pooling, per-node output.

Shape suffixes: B cases, N nodes, C input channels, L local, G global, W hidden and O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.functional import linear

from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True)
class PointNetConfig:
    """Size of a PointNet; the defaults are the widths of the paper's segmentation network.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    local_channels : tuple of int
        Widths of the MLP that gives each node its local feature.
    global_channels : tuple of int
        Widths of the MLP from the local feature to what is pooled.
    head_channels : tuple of int
        Hidden widths of the MLP from local and global feature to the output.

    Raises
    ------
    ValueError
        If a width is not a positive integer, or an MLP has none.
    """

    in_channels: int
    out_channels: int
    local_channels: tuple[int, ...] = (64, 64)
    global_channels: tuple[int, ...] = (64, 128, 1024)
    head_channels: tuple[int, ...] = (512, 256, 128, 128)

    def __post_init__(self) -> None:
        for name, widths in (
            ("in_channels", (self.in_channels,)),
            ("out_channels", (self.out_channels,)),
            ("local_channels", self.local_channels),
            ("global_channels", self.global_channels),
            ("head_channels", self.head_channels),
        ):
            if not widths or any(type(width) is not int or width < 1 for width in widths):
                raise ValueError(f"{name} must be positive integers, not {getattr(self, name)!r}")


class PointNet(nn.Module):
    """PointNet, segmentation network, as a regressor that follows `baselines.convention.FieldModel`.

    Left out of the paper's network: batch normalisation, whose statistics would mix the cases of a
    batch, and the two transform networks, which undo rotations, whereas the build direction matters.

    Parameters
    ----------
    config : PointNetConfig
        Size of the model.

    References
    ----------
    Qi et al., "PointNet: Deep Learning on Point Sets for 3D Classification and Segmentation",
    CVPR 2017, arXiv 1612.00593, figure 2.
    """

    def __init__(self, config: PointNetConfig) -> None:
        super().__init__()
        self.config = config
        local_width, global_width = config.local_channels[-1], config.global_channels[-1]
        self.local_mlp = _mlp((config.in_channels, *config.local_channels))
        self.global_mlp = _mlp((local_width, *config.global_channels))
        self.concatenated = nn.Linear(local_width + global_width, config.head_channels[0])
        self.head = nn.Sequential(
            nn.ReLU(), _mlp(config.head_channels), nn.Linear(config.head_channels[-1], config.out_channels)
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        local_BNL = self.local_mlp(zero_padding(x_BNC, mask_BN))
        pooled_BNG = self.global_mlp(local_BNL)
        if mask_BN is not None:
            pooled_BNG = pooled_BNG.masked_fill(~mask_BN[..., None], float("-inf"))
        h_BNW = self._concatenate(local_BNL, pooled_BNG.amax(dim=1))
        return zero_padding(self.head(h_BNW), mask_BN)

    def _concatenate(self, local_BNL: Tensor, global_BG: Tensor) -> Tensor:
        """Linear layer on each local feature with the global one appended.

        The part on the global feature is the same for every node, so it is computed once a case
        instead of once a node: at the paper's widths 1/17 of the work.
        """
        weight_WL, weight_WG = self.concatenated.weight.split(
            [local_BNL.shape[-1], global_BG.shape[-1]], dim=1
        )
        global_BW = linear(global_BG, weight_WG)
        return linear(local_BNL, weight_WL, self.concatenated.bias) + global_BW[:, None, :]


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers between successive widths, each followed by a ReLU."""
    layers = [nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU()) for n_in, n_out in pairwise(widths)]
    return nn.Sequential(*layers)


ENTRY = ModelEntry(
    name="pointnet",
    config_type=PointNetConfig,
    build=PointNet,
    published_parameters=None,
    citation=(
        "Qi, Su, Mo, Guibas: PointNet: Deep Learning on Point Sets for 3D Classification and "
        "Segmentation. CVPR 2017. arXiv 1612.00593"
    ),
    licence="MIT, github.com/charlesq34/pointnet",
)
