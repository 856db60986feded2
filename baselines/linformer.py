"""Linformer: keys and values are projected along the sequence to a fixed number of tokens.

Shape suffixes: B cases, N nodes, S places of the sequence, K projected tokens, C channels, O output channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from baselines.blocks import Block, ResidualMLP, attend, join_heads, linear, split_heads
from baselines.checks import check_sizes
from baselines.convention import check_batch, zero_padding
from baselines.entry import ModelEntry
from baselines.ordering import curve_order, node_counts
from baselines.transformer import TransformerConfig

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LinformerConfig(TransformerConfig):
    """Size of a Linformer; the defaults are those of the transformer, and lengths of the paper.

    Parameters
    ----------
    in_channels, out_channels, channels, num_blocks, num_heads, mlp_ratio : int
        As of `baselines.transformer.TransformerConfig`.
    sequence_length : int
        Places of the sequence to which the nodes of a case are resampled.
    num_projected : int
        Tokens to which these are projected, which the nodes attend to.

    Raises
    ------
    ValueError
        If one is not a positive integer, or the heads do not share the channels equally.
    """

    sequence_length: int = 1024
    num_projected: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, "sequence_length", "num_projected")


class Places(NamedTuple):
    """Where the nodes fall on a sequence of fixed length.

    A node falls between two places and is shared by them, the nearer one taking more.  The shares of a
    case add up to the length of the sequence, however many nodes it has.

    Parameters
    ----------
    before, after : Tensor, (B, N) int64
        The two places.
    before_weight, after_weight : Tensor, (B, N)
        Their shares; zero on padding.
    """

    before: Tensor
    after: Tensor
    before_weight: Tensor
    after_weight: Tensor


@torch.no_grad()
def find_places(x_BNC: Tensor, mask_BN: Tensor | None, length: int) -> Places:
    """Spread the nodes of each case evenly over a sequence, in the order of `curve_order`.

    Parameters
    ----------
    x_BNC : Tensor, (B, N, C)
        Node features, the position first; finite on padding as well.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes.
    length : int
        Places of the sequence.
    """
    rank_BN = curve_order(x_BNC, mask_BN).argsort(dim=1)
    spacing_B1 = length / node_counts(x_BNC, mask_BN)[:, None]
    place_BN = ((rank_BN + 0.5) * spacing_B1 - 0.5).clamp(0, length - 1)
    before_BN = place_BN.floor()
    after_share_BN = place_BN - before_BN
    weight_BN = spacing_B1.expand_as(place_BN)
    if mask_BN is not None:
        weight_BN = weight_BN.masked_fill(~mask_BN, 0.0)
    return Places(
        before=before_BN.long(),
        after=place_BN.ceil().long(),
        before_weight=((1 - after_share_BN) * weight_BN).to(x_BNC.dtype),
        after_weight=(after_share_BN * weight_BN).to(x_BNC.dtype),
    )


def resample(h_BNC: Tensor, places: Places, length: int) -> Tensor:
    """Add up the nodes at each place of the sequence, (B, S, C)."""
    start_B1 = torch.arange(len(h_BNC), device=h_BNC.device)[:, None] * length
    h_SC = h_BNC.new_zeros(len(h_BNC) * length, h_BNC.shape[2])
    for place_BN, weight_BN in (
        (places.before, places.before_weight),
        (places.after, places.after_weight),
    ):
        shares_BNC = h_BNC * weight_BN[..., None].to(h_BNC.dtype)
        h_SC = h_SC.index_add(0, (place_BN + start_B1).flatten(), shares_BNC.flatten(0, 1))
    return h_SC.unflatten(0, (len(h_BNC), length))


class LinformerAttention(nn.Module):
    """Attention of the nodes to what a projection along the sequence makes of them.

    Projecting along the sequence and from features to keys and values commute, so the nodes are
    projected first: keys and values are made of K tokens and not of N nodes.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = linear(channels, channels, bias=False)
        self.kv_proj = linear(channels, 2 * channels, bias=False)
        self.out_proj = linear(channels, channels)

    def forward(self, x_BNC: Tensor, places: Places, projection_KS: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        tokens_BKC = projection_KS @ resample(x_BNC, places, projection_KS.shape[1])
        q = split_heads(self.q_proj(x_BNC), self.num_heads)
        k, v = (split_heads(t, self.num_heads) for t in self.kv_proj(tokens_BKC).chunk(2, dim=-1))
        y_BNC: Tensor = self.out_proj(join_heads(attend(q, k, v)))
        return y_BNC


class Linformer(nn.Module):
    """`baselines.transformer.Transformer` with the attention of Linformer.

    Follows `baselines.convention.FieldModel`.  The projection is the same for keys and values, all heads
    and all blocks, the paper's layerwise sharing.

    The paper's sequences have one length and an order.  A mesh has neither: nodes are ordered along a
    space-filling curve through their positions, so that the order in which they are stored does not
    matter, and resampled to the length of the projection by linear interpolation.  A case of just that
    many nodes is projected as in the paper.  The order is not differentiated, and jumps where two nodes
    change places on the curve.

    Parameters
    ----------
    config : LinformerConfig
        Size of the model.

    References
    ----------
    Wang et al., "Linformer: Self-Attention with Linear Complexity", arXiv 2006.04768.
    """

    def __init__(self, config: LinformerConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.in_proj = ResidualMLP(config.in_channels, channels, channels)
        projection_KS = torch.empty(config.num_projected, config.sequence_length)
        self.projection = nn.Parameter(nn.init.xavier_uniform_(projection_KS))
        self.blocks = nn.ModuleList(
            [
                Block(channels, LinformerAttention(channels, config.num_heads), config.mlp_ratio)
                for _ in range(config.num_blocks)
            ]
        )
        self.out_proj = nn.Sequential(
            nn.LayerNorm(channels), ResidualMLP(channels, channels, config.out_channels)
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case; see `baselines.convention.FieldModel`."""
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        x_BNC = zero_padding(x_BNC, mask_BN)
        places = find_places(x_BNC, mask_BN, self.config.sequence_length)
        h_BNC = self.in_proj(x_BNC)
        for block in self.blocks:
            h_BNC = block(h_BNC, places, self.projection)
        return zero_padding(self.out_proj(h_BNC), mask_BN)


ENTRY = ModelEntry(
    name="linformer",
    config_type=LinformerConfig,
    build=Linformer,
    published_parameters=None,
    citation=(
        "Wang, Li, Khabsa, Fang, Ma: Linformer: Self-Attention with Linear Complexity. 2020. arXiv 2006.04768"
    ),
    licence="MIT, github.com/facebookresearch/fairseq",
)
