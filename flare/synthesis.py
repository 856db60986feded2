"""The token mixers of FLARE++: routing queries synthesised from the input (arXiv 2608.11519).

One more call of the encoder, with learned seeds in the place of queries, summarises the nodes of a case
in M vectors per head.  In the first version of the paper these are the routing queries; in its later
version they are a correction, through a gate, to learned ones.

Shape suffixes: B cases, N nodes, C channels, H heads, M latent tokens, D = C / H channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from flare.mixer import FLAREMixer
from flare.mlp import make_norm
from flare.routing import gather

if TYPE_CHECKING:
    from torch import Tensor

    from flare.config import FLAREConfig

GATE_LOGIT = 0.25
"""Initial logit of the gate of each head, a gate of 0.56 (reference implementation, vpuri3/FLARE.py)."""

GATED_LATENT_STD = 0.02
"""Standard deviation of initial seeds and learned queries beside a gate (reference implementation)."""


class SynthesisMixer(FLAREMixer):
    """What both versions share: seeds summarise the nodes, and the summary makes the routing queries.

    Parameters
    ----------
    config : FLAREConfig
        Of which `mixer` is not looked at.
    """

    def seeds(self, cases: int) -> Tensor:
        """Return what summarises the nodes of each case, (B, H, M, D)."""
        raise NotImplementedError

    def project_summarised(self, x_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """Make keys and values of the nodes for the seeds to summarise, (B, H, N, D) each."""
        raise NotImplementedError

    def queries_from_summary(self, summary_BHMD: Tensor) -> Tensor:
        """Make routing queries, (B, H, M, D), of what the seeds have gathered."""
        raise NotImplementedError

    def project(self, x_BNC: Tensor) -> tuple[Tensor, ...]:
        """Make keys and values, and the keys and values that are summarised, (B, H, N, D) each."""
        return *self.project_routed(x_BNC), *self.project_summarised(x_BNC)

    def routing_queries(self, mask_BN: Tensor | None, *projected: Tensor) -> Tensor:
        """Take what `project` made of some cases and return the queries that route them, (B, H, M, D)."""
        k_BHND, _, query_k_BHND, query_v_BHND = projected
        scale, name = self.config.score_scale, self.config.route
        summary_BHMD = gather(self.seeds(len(k_BHND)), query_k_BHND, query_v_BHND, mask_BN, scale, name)
        return self.queries_from_summary(summary_BHMD)


class FLAREPlusPlusMixer(SynthesisMixer):
    """Mixing of nodes through latent tokens, with queries computed from the input.

    The method of version 1 of the paper, ``Q(X) = SDPA(Q_seed, K~(X), V~(X))``, where K~ and V~ are
    projections of their own; FLARE goes on with Q(X).  The learned queries of FLARE are the seeds.

    Parameters
    ----------
    config : FLAREConfig
        Of which `mixer` is not looked at.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__(config)
        self.query_k_proj = self._make_projection()
        self.query_v_proj = self._make_projection()
        if config.qk_norm:
            self.seed_norm = make_norm(config.norm, config.head_channels)
            self.query_k_norm = make_norm(config.norm, config.head_channels)

    def seeds(self, cases: int) -> Tensor:
        """Return what summarises the nodes of each case, (B, H, M, D)."""
        seeds_HMD = self.latent_queries()
        if self.config.qk_norm:
            seeds_HMD = self.seed_norm(seeds_HMD)
        return seeds_HMD.expand(cases, -1, -1, -1)

    def project_summarised(self, x_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """Make keys and values of the nodes for the seeds to summarise, (B, H, N, D) each."""
        query_k_BHND = self._split_heads(self.query_k_proj(x_BNC))
        if self.config.qk_norm:
            query_k_BHND = self.query_k_norm(query_k_BHND)
        return query_k_BHND, self._split_heads(self.query_v_proj(x_BNC))

    def queries_from_summary(self, summary_BHMD: Tensor) -> Tensor:
        """Make routing queries, (B, H, M, D), of what the seeds have gathered."""
        return self.q_norm(summary_BHMD) if self.config.qk_norm else summary_BHMD


class GatedFLAREPlusPlusMixer(SynthesisMixer):
    """Mixing of nodes through latent tokens, with learned queries that the input corrects.

    The method of the later version of the paper, made for training in half precision::

        K~(X) = norm(X W~),    Q(X) = norm(Q_learned) + sigmoid(g) SDPA(norm(Q_seed), K~(X), K~(X))

    with one gate g a head, and normalised keys in the routing that follows.  The norms act on each head;
    those of seeds and routing keys have learned scales.  The learned queries of FLARE are Q_learned.

    Parameters
    ----------
    config : FLAREConfig
        Of which `mixer` is not looked at, and `qk_norm` is false.
    """

    def __init__(self, config: FLAREConfig) -> None:
        super().__init__(config)
        channels = config.head_channels
        nn.init.normal_(self.latent_q, std=GATED_LATENT_STD)
        self.seed_q = self._make_latents(GATED_LATENT_STD)
        self.gate_logit = nn.Parameter(torch.full((config.num_heads,), GATE_LOGIT))
        self.query_k_proj = self._make_projection()
        self.seed_norm = make_norm(config.norm, channels)
        self.k_norm = make_norm(config.norm, channels)
        self.query_norm = make_norm(config.norm, channels, learned=False)

    def seeds(self, cases: int) -> Tensor:
        """Return what summarises the nodes of each case, (B, H, M, D)."""
        seeds_HMD: Tensor = self.seed_norm(self._per_head(self.seed_q))
        return seeds_HMD.expand(cases, -1, -1, -1)

    def project_keys(self, x_BNC: Tensor) -> Tensor:
        """Make keys of the nodes, (B, H, N, D)."""
        k_BHND: Tensor = self.k_norm(super().project_keys(x_BNC))
        return k_BHND

    def project_summarised(self, x_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """Make keys of the nodes for the seeds to summarise, (B, H, N, D), which are the values too."""
        query_k_BHND = self.query_norm(self._split_heads(self.query_k_proj(x_BNC)))
        return query_k_BHND, query_k_BHND

    def queries_from_summary(self, summary_BHMD: Tensor) -> Tensor:
        """Add what the seeds have gathered, times the gate, to the learned queries: (B, H, M, D)."""
        gate_H11 = torch.sigmoid(self.gate_logit)[:, None, None]
        q_BHMD: Tensor = self.query_norm(self.latent_queries()) + gate_H11 * summary_BHMD
        return q_BHMD
