"""Transolver++: Transolver whose nodes are dealt to slices more sharply, at a temperature of their own.

Shape suffixes: B cases, N nodes, C channels, H heads, D = C / H channels per head, M slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from baselines.blocks import join_heads, linear, split_heads
from baselines.entry import ModelEntry
from baselines.transolver import TEMPERATURE, Transolver, TransolverConfig, attend_among_slices

if TYPE_CHECKING:
    from torch import Tensor

LEAST_TEMPERATURE = 0.01
"""Lower bound of a node's temperature (published code)."""


@dataclass(frozen=True)
class TransolverPlusPlusConfig(TransolverConfig):
    """Size of a Transolver++; the defaults are the published LPBF setting.

    Parameters
    ----------
    in_channels, out_channels, channels, num_blocks, num_heads, num_slices, mlp_ratio : int
        As of `TransolverConfig`.
    gumbel_noise : bool
        In training, perturb the slice logits of each node by Gumbel noise from torch's global random
        generator.  A model in `eval` mode never does.

    Raises
    ------
    ValueError
        As of `TransolverConfig`.
    """

    gumbel_noise: bool = True


class EideticAttention(nn.Module):
    """Physics attention with a temperature for every node, and noise on slice logits (algorithm 1).

    What is averaged over a slice is what decides the slice; Transolver has a projection for each.

    Parameters
    ----------
    config : TransolverPlusPlusConfig
        Channels, heads and slices, and whether to add noise in training.
    """

    def __init__(self, config: TransolverPlusPlusConfig) -> None:
        super().__init__()
        channels, head_channels = config.channels, config.channels // config.num_heads
        self.num_heads, self.gumbel_noise = config.num_heads, config.gumbel_noise
        self.temperature = nn.Parameter(torch.full((config.num_heads, 1, 1), TEMPERATURE))
        self.temperature_proj = nn.Sequential(
            linear(head_channels, config.num_slices), nn.GELU(), linear(config.num_slices, 1), nn.GELU()
        )
        self.in_proj = linear(channels, channels)
        self.slice_proj = linear(head_channels, config.num_slices)
        self.qkv_proj = linear(head_channels, 3 * head_channels, bias=False)
        self.out_proj = linear(channels, channels)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C), finite on padding as well, to (B, N, C), meaningless on padding."""
        x_BHND = split_heads(self.in_proj(x_BNC), self.num_heads)
        y_BHND = attend_among_slices(x_BHND, self.slice_weights(x_BHND), mask_BN, self.qkv_proj)
        y_BNC: Tensor = self.out_proj(join_heads(y_BHND))
        return y_BNC

    def slice_weights(self, x_BHND: Tensor) -> Tensor:
        """To what extent each node belongs to each slice, (B, H, N, M); sums to 1 over the slices."""
        temperature_BHN1 = (self.temperature_proj(x_BHND) + self.temperature).clamp(min=LEAST_TEMPERATURE)
        logits_BHNM = self.slice_proj(x_BHND)
        if self.gumbel_noise and self.training:
            logits_BHNM = logits_BHNM + gumbel_noise_like(logits_BHNM)
        return (logits_BHNM / temperature_BHN1).softmax(dim=-1)


class TransolverPlusPlus(Transolver):
    """Transolver++, which follows `baselines.convention.FieldModel`.

    While noise is drawn, a case in a padded batch gets what it gets alone in distribution only.  The
    published code draws noise in prediction as well; here a trained model predicts the same twice.

    The published 591 561 parameters include 512 of an embedding of three flight conditions, which a
    case of LPBF does not have and the published forward pass leaves out; without it, 591 049 remain.

    Parameters
    ----------
    config : TransolverPlusPlusConfig
        Size of the model.

    References
    ----------
    Luo et al., "Transolver++: An Accurate Neural Solver for PDEs on Million-Scale Geometries", ICML
    2025, arXiv 2502.02414.
    """

    def __init__(self, config: TransolverPlusPlusConfig) -> None:
        super().__init__(config, EideticAttention)


def gumbel_noise_like(logits: Tensor) -> Tensor:
    """Draw standard Gumbel noise of the shape of some logits, in single precision at least.

    Half precision has few numbers near the ends of the distribution, which decide.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return -torch.empty_like(logits, dtype=dtype).exponential_().log()


ENTRY = ModelEntry(
    name="transolver++",
    config_type=TransolverPlusPlusConfig,
    build=TransolverPlusPlus,
    published_parameters=None,
    citation=(
        "Luo, Wu, Zhou, Xing, Di, Wang, Long: Transolver++: An Accurate Neural Solver for PDEs on "
        "Million-Scale Geometries. ICML 2025. arXiv 2502.02414"
    ),
    licence="MIT, github.com/thuml/Transolver_plus",
)
