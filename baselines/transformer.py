"""The plain transformer: every node attends to every other, at a cost quadratic in the nodes.

Shape suffixes: B cases, N nodes, C channels, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from baselines.blocks import Block, ResidualMLP, SelfAttention
from baselines.checks import check_heads, check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TransformerConfig:
    """Size of a transformer; the defaults are those of the published LPBF experiments.

    Parameters
    ----------
    in_channels : int
        Input features per node.
    out_channels : int
        Output features per node.
    channels : int
        Width of the blocks.
    num_blocks : int
        Number of blocks.
    num_heads : int
        Attention heads; divides `channels`.
    mlp_ratio : int
        Hidden width of the MLP of a block over `channels`.

    Raises
    ------
    ValueError
        If one is not a positive integer, or the heads do not share the channels equally.
    """

    in_channels: int
    out_channels: int
    channels: int = 80
    num_blocks: int = 8
    num_heads: int = 5
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        check_sizes(self, "in_channels", "out_channels", "channels", "num_blocks", "num_heads", "mlp_ratio")
        check_heads(self.channels, self.num_heads)


class Transformer(nn.Module):
    """Pre-norm transformer without positional encoding, whose positions are node features.

    Follows `baselines.convention.FieldModel`.  Memory is linear in the nodes, time quadratic.  At the
    defaults, with 3 inputs and 1 output, it has the 660k parameters that vpuri3/FLARE.py states.

    Parameters
    ----------
    config : TransformerConfig
        Size of the model.

    References
    ----------
    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762; normalisation before
    each layer as in Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020,
    arXiv 2002.04745; projections in and out as in vpuri3/FLARE.py.
    """

    attention = SelfAttention

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.in_proj = ResidualMLP(config.in_channels, channels, channels)
        self.blocks = nn.ModuleList(
            [
                Block(channels, self.attention(channels, config.num_heads), config.mlp_ratio)
                for _ in range(config.num_blocks)
            ]
        )
        self.out_proj = nn.Sequential(
            nn.LayerNorm(channels), ResidualMLP(channels, channels, config.out_channels)
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN))
        for block in self.blocks:
            h_BNC = block(h_BNC, mask_BN)
        return zero_padding(self.out_proj(h_BNC), mask_BN)


ENTRY = ModelEntry(
    name="transformer",
    config_type=TransformerConfig,
    build=Transformer,
    published_parameters=None,
    citation=(
        "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin: Attention Is All You "
        "Need. NeurIPS 2017. arXiv 1706.03762"
    ),
    licence="Apache-2.0, github.com/tensorflow/tensor2tensor",
)
