"""Latent Neural Operator: nodes are encoded to latent modes once, and decoded with the same scores.

Shape suffixes: B cases, N nodes, C channels, M modes, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor

MLP_RATIO = 2
"""Hidden width of the MLPs between modes over `LNOConfig.channels` (published code)."""


@dataclass(frozen=True)
class LNOConfig:
    """Size of a Latent Neural Operator; the defaults are the published LPBF setting.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of every layer; a multiple of `num_heads`.
    num_blocks : int
        Transformer blocks on the modes.
    num_heads : int
        Attention heads of a block.
    num_modes : int
        Latent tokens.
    num_layers : int
        Residual layers of each projection.

    Raises
    ------
    ValueError
        If a size is not a positive integer, or the heads do not divide the channels.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_blocks: int = 4
    num_heads: int = 8
    num_modes: int = 256
    num_layers: int = 2

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads")
        check_sizes(self, "num_modes", "num_layers")
        check_heads(self.channels, self.num_heads)


class Projector(nn.Module):
    """Linear layer and GELU, residual layers ``x + gelu(linear(x))``, and a linear layer.

    Parameters
    ----------
    in_channels, channels, out_channels : int
        Widths of input, of all hidden layers and of output.
    num_layers : int
        Residual layers.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, num_layers: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(in_channels, channels)
        self.layers = nn.ModuleList([nn.Linear(channels, channels) for _ in range(num_layers)])
        self.out_layer = nn.Linear(channels, out_channels)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels)."""
        x = self.activation(self.in_layer(x))
        for layer in self.layers:
            x = x + self.activation(layer(x))
        y: Tensor = self.out_layer(x)
        return y


class LNO(nn.Module):
    """Latent Neural Operator, which follows `baselines.convention.FieldModel`.

    The operator is sampled where it is queried, as in the forward problems of the paper: the node
    features are both positions (trunk) and input function (branch).

    Parameters
    ----------
    config : LNOConfig
        Size of the model.

    References
    ----------
    Wang and Wang, "Latent Neural Operator for Solving Forward and Inverse PDE Problems", NeurIPS 2024,
    arXiv 2406.03923.
    """

    def __init__(self, config: LNOConfig) -> None:
        super().__init__()
        self.config = config
        channels, layers = config.channels, config.num_layers
        self.trunk = Projector(config.in_channels, channels, channels, layers)
        self.branch = Projector(config.in_channels, channels, channels, layers)
        self.score = Projector(channels, channels, config.num_modes, layers)
        self.blocks = nn.ModuleList([_block(config) for _ in range(config.num_blocks)])
        self.head = Projector(channels, channels, config.out_channels, layers)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        x_BNC = zero_padding(x_BNC, mask_BN)
        score_BNM = self.score(self.trunk(x_BNC))
        z_BMC = encode(score_BNM, self.branch(x_BNC), mask_BN)
        for block in self.blocks:
            z_BMC = block(z_BMC)
        return zero_padding(self.head(decode(score_BNM, z_BMC)), mask_BN)


def encode(score_BNM: Tensor, v_BNC: Tensor, mask_BN: Tensor | None) -> Tensor:
    """Physics-cross-attention from nodes to modes: softmax over the real nodes of a case.

    Parameters
    ----------
    score_BNM : Tensor, (B, N, M)
        How much a node has to say to a mode.
    v_BNC : Tensor, (B, N, C)
        What it has to say; finite on padding as well.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes.

    Returns
    -------
    Tensor, (B, M, C)
        Modes.
    """
    if mask_BN is not None:
        score_BNM = score_BNM.masked_fill(~mask_BN[..., None], float("-inf"))
    return score_BNM.softmax(dim=1).mT @ v_BNC


def decode(score_BNM: Tensor, z_BMC: Tensor) -> Tensor:
    """Physics-cross-attention from modes to nodes, (B, N, C): softmax over the modes."""
    return score_BNM.softmax(dim=2) @ z_BMC


def _block(config: LNOConfig) -> nn.Module:
    """Pre-norm transformer block, (B, M, C) to (B, M, C)."""
    return nn.TransformerEncoderLayer(
        config.channels,
        config.num_heads,
        dim_feedforward=MLP_RATIO * config.channels,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


ENTRY = ModelEntry(
    name="lno",
    config_type=LNOConfig,
    build=LNO,
    published_parameters=762_241,
    citation=(
        "Wang, Wang: Latent Neural Operator for Solving Forward and Inverse PDE Problems. NeurIPS 2024. "
        "arXiv 2406.03923"
    ),
    licence="MIT, github.com/L-I-M-I-T/LatentNeuralOperator",
)
