"""The token mixer of FLARE, and what the mixers of FLARE++ (`flare.synthesis`) share with it.

A mixer makes keys and values from the nodes, routes them through latent tokens (`flare.routing`) and
projects the outcome.  The members of the family differ in where the routing queries come from.

Shape suffixes: B cases, N nodes, C channels, H heads, M latent tokens, D = C / H channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from flare.latent_block import LatentBlock
from flare.mlp import ResidualMLP, linear, make_norm
from flare.routing import decode, gather, route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from flare.config import FLAREConfig

LATENT_STD = 0.1
"""Standard deviation of initial latent queries (reference implementation, vpuri3/FLARE.py)."""


class FLAREMixer(nn.Module):
    """Mixing of nodes through latent tokens, with learned queries (arXiv 2508.12594).

    Parameters
    ----------
    config : FLAREConfig
        Of which `mixer` is not looked at.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_q = self._make_latents(LATENT_STD)
        self.k_proj = self._make_projection()
        self.v_proj = self._make_projection()
        if config.qk_norm:
            self.q_norm = make_norm(config.norm, config.head_channels)
            self.k_norm = make_norm(config.norm, config.head_channels)
        if config.latent_blocks:
            blocks = [LatentBlock(config) for _ in range(config.latent_blocks)]
            self.latent_blocks = nn.Sequential(*blocks)
        self.out_proj = linear(config.channels, config.channels)

    def latent_queries(self) -> Tensor:
        """Learned queries of each head, (H, M, D)."""
        return self._per_head(self.latent_q)

    def fixed_queries(self, cases: int) -> Tensor:
        """Return the queries that every case has, (B, H, M, D)."""
        q_HMD = self.latent_queries()
        if self.config.qk_norm:
            q_HMD = self.q_norm(q_HMD)
        # Fused kernels want equal batch sizes, and expand copies nothing.
        return q_HMD.expand(cases, -1, -1, -1)

    def project_keys(self, x_BNC: Tensor) -> Tensor:
        """Make keys of the nodes, (B, H, N, D)."""
        k_BHND = self._split_heads(self.k_proj(x_BNC))
        return self.k_norm(k_BHND) if self.config.qk_norm else k_BHND

    def project_routed(self, x_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """Make keys and values of the nodes, (B, H, N, D) each."""
        return self.project_keys(x_BNC), self._split_heads(self.v_proj(x_BNC))

    def project(self, x_BNC: Tensor) -> tuple[Tensor, ...]:
        """Make of each node what `mix` takes: keys, values, and what else the member needs."""
        return self.project_routed(x_BNC)

    def routing_queries(
        self,
        mask_BN: Tensor | None,  # noqa: ARG002
        *projected: Tensor,
    ) -> Tensor:
        """Take what `project` made of some cases and return the queries that route them, (B, H, M, D)."""
        return self.fixed_queries(len(projected[0]))

    def mix_latents(self, z_BHMD: Tensor) -> Tensor:
        """Let the latent tokens of all heads see each other, where there are blocks for that."""
        if not self.config.latent_blocks:
            return z_BHMD
        return self._split_heads(self.latent_blocks(z_BHMD.transpose(1, 2).flatten(2)))

    def mix(self, mask_BN: Tensor | None, *projected: Tensor) -> Tensor:
        """Take what `project` made of some cases and return their mixed values, (B, H, N, D)."""
        k_BHND, v_BHND, *_ = projected
        q_BHMD = self.routing_queries(mask_BN, *projected)
        scale, name = self.config.score_scale, self.config.route
        if not self.config.latent_blocks:
            return route(q_BHMD, k_BHND, v_BHND, mask_BN, scale, name)
        z_BHMD = gather(q_BHMD, k_BHND, v_BHND, mask_BN, scale, name)
        return decode(q_BHMD, k_BHND, self.mix_latents(z_BHMD), scale)

    def project_out(self, y_BHND: Tensor) -> Tensor:
        """Join the heads, (B, N, C)."""
        y_BNC: Tensor = self.out_proj(y_BHND.transpose(1, 2).flatten(2))
        return y_BNC

    def forward(
        self, x_BNC: Tensor, mask_BN: Tensor | None = None, lengths: Sequence[int] | None = None
    ) -> Tensor:
        """Mix the nodes of each case.

        Parameters
        ----------
        x_BNC : Tensor, (B, N, C)
            Node features; finite on padding as well.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes, of which each case has one at least.
        lengths : sequence of int, optional
            In the place of a mask, where x is (1, N, C): nodes of each case, one case after another.

        Returns
        -------
        Tensor, (B, N, C)
            Mixed features; meaningless on padding.
        """
        projected = self.project(x_BNC)
        if lengths is None:
            return self.project_out(self.mix(mask_BN, *projected))
        cases = zip(*(t.split(lengths, dim=2) for t in projected), strict=True)
        return self.project_out(torch.cat([self.mix(None, *case) for case in cases], dim=2))

    def _make_latents(self, std: float) -> nn.Parameter:
        """Latent queries, (C, M) in memory order of (H, M, D): the layout of published checkpoints."""
        config = self.config
        rows = config.head_channels if config.shared_latents else config.channels
        return nn.Parameter(nn.init.normal_(torch.empty(rows, config.num_latents), std=std))

    def _per_head(self, latents_CM: Tensor) -> Tensor:
        q_HMD = latents_CM.view(-1, self.config.num_latents, self.config.head_channels)
        return q_HMD.expand(self.config.num_heads, -1, -1)

    def _make_projection(self) -> ResidualMLP:
        config = self.config
        hidden = config.hidden_channels(config.projection_ratio)
        return ResidualMLP(
            config.channels, hidden, config.channels, config.projection_layers, activation=config.activation
        )

    def _split_heads(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(-1, (self.config.num_heads, -1)).transpose(1, 2)
