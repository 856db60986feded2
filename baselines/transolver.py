"""Transolver: attention among slices that nodes belong to softly.

Shape suffixes: B cases, N nodes, C channels, H heads, D = C / H channels per head, M slices, O output
channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from baselines.blocks import MLP, Block, join_heads, linear, split_heads
from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURE = 0.5
"""Initial temperature of the softmax that deals nodes to slices (published code)."""

TEMPERATURE_RANGE = 0.1, 5.0
"""What the published code keeps the temperature in on structured meshes.  On irregular ones it lets it
go, through zero if the optimiser likes; here it is kept on these too."""

SLICE_EPSILON = 1e-5
"""Added to the size of a slice, to which no node may belong (published code)."""


@dataclass(frozen=True)
class TransolverConfig:
    """Size of a Transolver; the defaults are the published LPBF setting.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width between blocks; a multiple of `num_heads`.
    num_blocks : int
        Blocks of attention and MLP.
    num_heads : int
        Attention heads.
    num_slices : int
        Slices per head.
    mlp_ratio : int
        Hidden width of a block's MLP over `channels`.

    Raises
    ------
    ValueError
        If a size is not a positive integer, or the heads do not divide the channels.
    """

    in_channels: int
    out_channels: int
    channels: int = 128
    num_blocks: int = 8
    num_heads: int = 8
    num_slices: int = 64
    mlp_ratio: int = 1

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads")
        check_sizes(self, "num_slices", "mlp_ratio")
        check_heads(self.channels, self.num_heads)


def attend_among_slices(
    v_BHND: Tensor, weights_BHNM: Tensor, mask_BN: Tensor | None, qkv_proj: nn.Module
) -> Tensor:
    """Average nodes over slices, let the slices attend to each other, and give nodes what they learned.

    Parameters
    ----------
    v_BHND : Tensor, (B, H, N, D)
        Values of nodes; finite on padding as well.
    weights_BHNM : Tensor, (B, H, N, M)
        To what extent a node belongs to a slice; finite on padding as well.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes.
    qkv_proj : Module
        Makes of a slice's D channels 3 D: its query, key and value.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.
    """
    if mask_BN is None:
        size_BHM1 = weights_BHNM.sum(dim=2)[..., None]
    else:
        # Masking the D values of a node instead of its M weights keeps one (N, M) tensor less.
        real_B1N1 = mask_BN[:, None, :, None]
        v_BHND = v_BHND.masked_fill(~real_B1N1, 0.0)
        size_BHM1 = weights_BHNM.mT @ real_B1N1.to(weights_BHNM.dtype)
    slice_BHMD = weights_BHNM.mT @ v_BHND / (size_BHM1 + SLICE_EPSILON)
    q_BHMD, k_BHMD, v_BHMD = qkv_proj(slice_BHMD).chunk(3, dim=-1)
    return weights_BHNM @ scaled_dot_product_attention(q_BHMD, k_BHMD, v_BHMD)


class PhysicsAttention(nn.Module):
    """Attention among learned slices of an irregular mesh.

    Parameters
    ----------
    config : TransolverConfig
        Channels, heads and slices.
    """

    def __init__(self, config: TransolverConfig) -> None:
        super().__init__()
        channels, head_channels = config.channels, config.channels // config.num_heads
        self.num_heads = config.num_heads
        self.temperature = nn.Parameter(torch.full((config.num_heads, 1, 1), TEMPERATURE))
        self.slice_in_proj = linear(channels, channels)
        self.value_in_proj = linear(channels, channels)
        self.slice_proj = linear(head_channels, config.num_slices)
        self.qkv_proj = linear(head_channels, 3 * head_channels, bias=False)
        self.out_proj = linear(channels, channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C), finite on padding as well, to (B, N, C), meaningless on padding."""
        weights_BHNM = self.slice_weights(split_heads(self.slice_in_proj(x_BNC), self.num_heads))
        v_BHND = split_heads(self.value_in_proj(x_BNC), self.num_heads)
        y_BHND = attend_among_slices(v_BHND, weights_BHNM, mask_BN, self.qkv_proj)
        y_BNC: Tensor = self.out_proj(join_heads(y_BHND))
        return y_BNC

    def slice_weights(self, x_BHND: Tensor) -> Tensor:
        """To what extent each node belongs to each slice, (B, H, N, M); sums to 1 over the slices."""
        temperature_H11 = self.temperature.clamp(*TEMPERATURE_RANGE)
        # Division of the weights instead of the logits keeps one (N, M) tensor less for the gradient.
        weight_HDM = self.slice_proj.weight.T / temperature_H11
        logits_BHNM = x_BHND @ weight_HDM + self.slice_proj.bias / temperature_H11
        return logits_BHNM.softmax(dim=-1)


class Transolver(nn.Module):
    """Transolver for irregular meshes, which follows `baselines.convention.FieldModel`.

    GELUs are the tanh approximation, as in all MLPs of `baselines.blocks`.

    Parameters
    ----------
    config : TransolverConfig
        Size of the model.
    attention : type of Module
        Attention of each block, which takes the configuration.

    References
    ----------
    Wu et al., "Transolver: A Fast Transformer Solver for PDEs on General Geometries", ICML 2024,
    arXiv 2402.02366.
    """

    def __init__(self, config: TransolverConfig, attention: type[nn.Module] = PhysicsAttention) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.in_proj = MLP(config.in_channels, 2 * channels, channels)
        self.blocks = nn.ModuleList(
            [Block(channels, attention(config), config.mlp_ratio) for _ in range(config.num_blocks)]
        )
        self.head = nn.Sequential(nn.LayerNorm(channels), linear(channels, config.out_channels))
        # Stands for the input function where, as here, none is known besides the geometry (published code).
        self.placeholder = nn.Parameter(torch.rand(channels) / channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN)) + self.placeholder
        for block in self.blocks:
            h_BNC = block(h_BNC, mask_BN)
        return zero_padding(self.head(h_BNC), mask_BN)


ENTRY = ModelEntry(
    name="transolver",
    config_type=TransolverConfig,
    build=Transolver,
    published_parameters=713_921,
    citation=(
        "Wu, Luo, Wang, Wang, Long: Transolver: A Fast Transformer Solver for PDEs on General Geometries. "
        "ICML 2024. arXiv 2402.02366"
    ),
    licence="MIT, github.com/thuml/Transolver",
)
