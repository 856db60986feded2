"""The FLARE model: pre-norm blocks of a token mixer and an MLP between two projections.

Module names follow the reference implementation (vpuri3/FLARE.py), so that its checkpoints map
onto ours by name.

Shape suffixes: B cases, N nodes of the largest case, C channels, O output channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from flare.batch import check_batch, zero_padding
from flare.mixer import FLAREMixer
from flare.mlp import ResidualMLP

if TYPE_CHECKING:
    from torch import Tensor

    from flare.config import FLAREConfig

MLP_LAYERS = 3
"""Hidden layers of the MLP of a block (arXiv 2508.12594)."""

PROJECTION_LAYERS = 2
"""Hidden layers of the input and output projections (arXiv 2508.12594)."""


class FLAREBlock(nn.Module):
    """Pre-norm block: ``x + mixer(norm(x))``, then ``x + mlp(norm(x))``.

    Parameters
    ----------
    channels : int
        Features per node, C.
    mixer : Module
        Called as ``mixer(x_BNC, mask_BN)``, returns (B, N, C).
    """

    def __init__(self, channels: int, mixer: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.att = mixer
        self.mlp = ResidualMLP(channels, channels, channels, MLP_LAYERS)

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        x_BNC = x_BNC + self.att(self.norm1(x_BNC), mask_BN)
        return x_BNC + self.mlp(self.norm2(x_BNC))


class FLARE(nn.Module):
    """Surrogate that maps features of mesh nodes to a field on these nodes.

    Equivariant to the order of the nodes; initialised from torch's global random generator.

    Parameters
    ----------
    config : FLAREConfig
        Size of the model.

    References
    ----------
    Puri et al., "FLARE: Fast Low-rank Attention Routing Engine", arXiv 2508.12594.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.in_proj = ResidualMLP(
            config.in_channels, channels, channels, PROJECTION_LAYERS, input_residual=False
        )
        self.blocks = nn.ModuleList(
            [
                FLAREBlock(channels, FLAREMixer(channels, config.num_heads, config.num_latents))
                for _ in range(config.num_blocks)
            ]
        )
        self.out_proj = nn.Sequential(
            nn.LayerNorm(channels),
            ResidualMLP(channels, channels, config.out_channels, PROJECTION_LAYERS, output_residual=False),
        )

    def forward(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case.

        A case gets the same from a padded batch as alone, to rounding.  What the padding holds,
        NaN included, reaches neither outputs nor gradients.

        Parameters
        ----------
        x_BNC : Tensor, (B, N, in_channels), floating point
            Node features, cases padded to the N of the largest.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes, anywhere along N; not needed if all nodes are real.

        Returns
        -------
        Tensor, (B, N, out_channels)
            The field; zero on padding.

        Raises
        ------
        ValueError
            If shapes, dtypes or devices do not fit, or a case has no real node.  The latter is
            looked for in host memory and uncompiled only, see `flare.check_no_empty_case`.
        """
        check_batch(x_BNC, mask_BN, self.config.in_channels)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN))
        for block in self.blocks:
            h_BNC = block(h_BNC, mask_BN)
        return zero_padding(self.out_proj(h_BNC), mask_BN)
