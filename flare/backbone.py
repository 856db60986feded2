"""The FLARE model: pre-norm blocks of a token mixer and an MLP between two projections.

Module names follow the reference implementation (vpuri3/FLARE.py), so that its checkpoints map
onto ours by name.

Shape suffixes: B cases, N nodes of the largest case, T nodes of all cases together, C channels,
K scalars of a case, O output channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from torch import nn

from flare.batch import check_batch, check_condition, check_finite, check_weights, zero_padding
from flare.mixer import FLAREMixer
from flare.mlp import ResidualMLP, make_feed_forward, make_norm
from flare.packed import case_lengths, check_packed, spread
from flare.pretrained import load_pretrained, write_pretrained
from flare.sharding import check_no_empty_case_over, token_group
from flare.synthesis import FLAREPlusPlusMixer, GatedFLAREPlusPlusMixer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from flare.config import FLAREConfig


MIXERS: dict[str, type[FLAREMixer]] = {
    "flare": FLAREMixer,
    "flare++": FLAREPlusPlusMixer,
    "flare++gated": GatedFLAREPlusPlusMixer,
}
"""Every mixer, by the name that `FLAREConfig.mixer` takes."""


class FLAREBlock(nn.Module):
    """Pre-norm block: ``x + mixer(norm(x))``, then ``x + mlp(norm(x))``.

    Parameters
    ----------
    config : FLAREConfig
        Which mixer and MLP, and their sizes.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__()
        self.norm1 = make_norm(config.norm, config.channels)
        self.norm2 = make_norm(config.norm, config.channels)
        self.att = MIXERS[config.mixer](config)
        self.mlp = make_feed_forward(config)

    def forward(
        self, x_BNC: Tensor, mask_BN: Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> Tensor:
        """Map (B, N, C) to (B, N, C); arguments as of `FLAREMixer.forward`."""
        x_BNC = x_BNC + self.att(self.norm1(x_BNC), mask_BN, lengths)
        y_BNC: Tensor = x_BNC + self.mlp(self.norm2(x_BNC))
        return y_BNC


class FLARE(nn.Module):
    """Surrogate that maps features of mesh nodes to a field on these nodes.

    Equivariant to the order of the nodes; initialised from torch's global random generator.

    Parameters
    ----------
    config : FLAREConfig
        Size of the model, and which member of the family it is.

    References
    ----------
    Puri et al., "FLARE: Fast Low-rank Attention Routing Engine", arXiv 2508.12594; FLARE++, arXiv
    2608.11519.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__()
        self.config = config
        channels, layers, activation = config.channels, config.in_out_layers, config.activation
        self.in_proj = ResidualMLP(
            config.in_channels, channels, channels, layers, input_residual=False, activation=activation
        )
        if config.condition_channels:
            self.condition_proj = ResidualMLP(
                config.condition_channels, channels, channels, 0, input_residual=False, activation=activation
            )
        self.blocks = nn.ModuleList([FLAREBlock(config) for _ in range(config.num_blocks)])
        self.out_proj = nn.Sequential(
            make_norm(config.norm, channels),
            ResidualMLP(
                channels, channels, config.out_channels, layers, output_residual=False, activation=activation
            ),
        )

    def forward(
        self, x_BNC: Tensor, mask_BN: Tensor | None = None, condition_BK: Tensor | None = None
    ) -> Tensor:
        """Predict a field on the nodes of each case.

        A case gets the same from a padded batch as alone, to rounding.  What the padding holds,
        NaN included, reaches neither outputs nor gradients.

        Parameters
        ----------
        x_BNC : Tensor, (B, N, in_channels), floating point
            Node features, cases padded to the N of the largest.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes, anywhere along N; not needed if all nodes are real.
        condition_BK : Tensor, (B, condition_channels), floating point
            What describes each case as a whole; needed by models with `condition_channels`, which no
            other takes.

        Returns
        -------
        Tensor, (B, N, out_channels)
            The field; zero on padding.

        Raises
        ------
        ValueError
            As `check_input`.
        """
        self.check_input(x_BNC, mask_BN, condition_BK)
        h_BNC = self.in_proj(zero_padding(x_BNC, mask_BN))
        if condition_BK is not None:
            h_BNC = h_BNC + self.condition_proj(condition_BK)[:, None, :]
        for block in self.blocks:
            h_BNC = block(h_BNC, mask_BN)
        return zero_padding(self.out_proj(h_BNC), mask_BN)

    def forward_packed(
        self, x_TC: Tensor, offsets: Tensor | Sequence[int], condition_BK: Tensor | None = None
    ) -> Tensor:
        """Predict a field on the nodes of cases that lie one after another, without padding.

        Equal to `forward` on the padded cases, to rounding.

        Parameters
        ----------
        x_TC : Tensor, (T, in_channels), floating point
            Features of the nodes of all cases.
        offsets : Tensor or sequence of int, (B + 1,)
            Case b has the nodes from ``offsets[b]`` on, up to ``offsets[b + 1]``; from 0 to T.  An
            accelerator is waited for if they lie there.
        condition_BK : Tensor, (B, condition_channels), floating point
            As of `forward`.

        Returns
        -------
        Tensor, (T, out_channels)
            The field.

        Raises
        ------
        ValueError
            As of `forward`, or if the offsets do not cut the nodes into cases.
        """
        check_packed(x_TC, self.config.in_channels)
        lengths = case_lengths(offsets, len(x_TC))
        self._check_values(x_TC, None, condition_BK, len(lengths))
        h_1TC = self.in_proj(x_TC[None])
        if condition_BK is not None:
            h_1TC = h_1TC + spread(self.condition_proj(condition_BK), lengths)
        for block in self.blocks:
            h_1TC = block(h_1TC, None, lengths)
        y_TO: Tensor = self.out_proj(h_1TC)[0]
        return y_TO

    def check_input(
        self, x_BNC: Tensor, mask_BN: Tensor | None = None, condition_BK: Tensor | None = None
    ) -> None:
        """Raise unless `forward` takes these.

        Parameters
        ----------
        x_BNC, mask_BN, condition_BK
            As of `forward`.

        Raises
        ------
        ValueError
            If shapes, dtypes or devices do not fit, a case has no real node, or a feature of a real
            node is not finite.  The latter two are looked for in host memory and uncompiled only, see
            `flare.check_no_empty_case`.
        """
        group = token_group()
        check_batch(x_BNC, mask_BN, self.config.in_channels, sharded=group is not None)
        self._check_values(x_BNC, mask_BN, condition_BK, x_BNC.shape[0])
        if group is not None:
            check_no_empty_case_over(group, x_BNC, mask_BN)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write configuration and weights to a folder, as `from_pretrained` reads them."""
        write_pretrained(self, self.config, folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read a model from a folder that `save_pretrained` wrote, ready to predict.

        Nothing in the folder is executed.

        Parameters
        ----------
        folder : str or Path
            Holds ``config.json`` and ``model.safetensors``.

        Raises
        ------
        PretrainedError
            If a file is missing or damaged, or configuration and weights do not belong together.
        """
        return load_pretrained(cls, folder)

    def _check_values(
        self, x: Tensor, mask_BN: Tensor | None, condition_BK: Tensor | None, cases: int
    ) -> None:
        check_weights(x, next(self.in_proj.parameters()))
        check_condition(condition_BK, x, cases, self.config.condition_channels)
        check_finite(x, mask_BN)
