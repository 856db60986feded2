"""Prediction for more nodes than activations have room for.

Shape suffixes: B cases, N nodes, T nodes of a chunk, C channels, K scalars of a case, O output
channels, H heads, M latent tokens, D channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from flare.backbone import FLAREBlock
from flare.batch import check_batch, check_condition, check_finite, check_weights, zero_padding
from flare.chunked import CHUNK, LatentTokens, decode_chunked
from flare.mixer import FLAREMixer, FLAREPlusPlusMixer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from flare.backbone import FLARE


@torch.no_grad()
def predict_chunked(
    model: FLARE,
    x_BNC: Tensor,
    mask_BN: Tensor | None = None,
    condition_BK: Tensor | None = None,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """Predict as ``model(x_BNC, mask_BN, condition_BK)`` does, to rounding, a chunk of nodes at a time.

    Of all nodes together it keeps input, output and one (B, N, C) tensor, the residual stream.  Each
    block goes over the nodes once for every set of latent tokens it gathers and once to scatter them,
    and computes the keys anew then.

    Parameters
    ----------
    model : FLARE
        Any member of the family.  No gradients are recorded.
    x_BNC, mask_BN, condition_BK
        As of `FLARE.forward`.
    chunk : int
        Nodes at a time.

    Returns
    -------
    Tensor, (B, N, out_channels)
        The field; zero on padding.

    Raises
    ------
    ValueError
        As of `FLARE.forward`.
    """
    check_batch(x_BNC, mask_BN, model.config.in_channels)
    check_weights(x_BNC, next(model.in_proj.parameters()))
    check_condition(condition_BK, x_BNC, len(x_BNC), model.config.condition_channels)
    check_finite(x_BNC, mask_BN)

    h_BNC = _by_chunks(lambda x, mask: model.in_proj(zero_padding(x, mask)), x_BNC, mask_BN, chunk)
    if condition_BK is not None:
        h_BNC += model.condition_proj(condition_BK)[:, None, :]
    for block in model.blocks:
        assert isinstance(block, FLAREBlock)
        _advance(block, h_BNC, mask_BN, chunk)
    return _by_chunks(lambda h, mask: zero_padding(model.out_proj(h), mask), h_BNC, mask_BN, chunk)


def _advance(block: FLAREBlock, h_BNC: Tensor, mask_BN: Tensor | None, chunk: int) -> None:
    """Replace the residual stream by what the block makes of it."""
    mixer = block.att
    assert isinstance(mixer, FLAREMixer)
    keys = nn.Sequential(block.norm1, mixer.k_proj, _Heads(mixer), _norm(mixer, "k_norm"))
    values = nn.Sequential(block.norm1, mixer.v_proj, _Heads(mixer))

    q_BHMD = mixer.latent_queries().expand(len(h_BNC), -1, -1, -1)
    if isinstance(mixer, FLAREPlusPlusMixer):
        query_keys = nn.Sequential(
            block.norm1, mixer.query_k_proj, _Heads(mixer), _norm(mixer, "query_k_norm")
        )
        query_values = nn.Sequential(block.norm1, mixer.query_v_proj, _Heads(mixer))
        seeds_BHMD = _norm(mixer, "seed_norm")(q_BHMD)
        q_BHMD = _gather(seeds_BHMD, query_keys, query_values, h_BNC, mask_BN, chunk, mixer)
    q_BHMD = _norm(mixer, "q_norm")(q_BHMD)
    z_BHMD = _gather(q_BHMD, keys, values, h_BNC, mask_BN, chunk, mixer)
    if mixer.config.latent_blocks:
        z_BHMD = _Heads(mixer)(mixer.latent_blocks(z_BHMD.transpose(1, 2).flatten(2)))

    for h_BTC, _ in _chunks(h_BNC, None, chunk):
        y_BHTD = decode_chunked(q_BHMD, keys(h_BTC), z_BHMD, mixer.config.score_scale, chunk=chunk)
        h_BTC += mixer.out_proj(y_BHTD.transpose(1, 2).flatten(2))
        h_BTC += block.mlp(block.norm2(h_BTC))


def _gather(
    q_BHMD: Tensor,
    keys: nn.Module,
    values: nn.Module,
    h_BNC: Tensor,
    mask_BN: Tensor | None,
    chunk: int,
    mixer: FLAREMixer,
) -> Tensor:
    latents = LatentTokens(q_BHMD, mixer.config.score_scale)
    dtype = h_BNC.dtype
    for h_BTC, mask_BT in _chunks(h_BNC, mask_BN, chunk):
        v_BHTD = values(h_BTC)
        latents.add(keys(h_BTC), v_BHTD, mask_BT)
        dtype = v_BHTD.dtype
    return latents.z_BHMD.to(dtype)


class _Heads(nn.Module):
    """(B, N, C) to (B, H, N, D)."""

    def __init__(self, mixer: FLAREMixer) -> None:
        super().__init__()
        self.num_heads = mixer.config.num_heads

    def forward(self, x_BNC: Tensor) -> Tensor:
        return x_BNC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _norm(mixer: FLAREMixer, name: str) -> nn.Module:
    return mixer.get_submodule(name) if mixer.config.qk_norm else nn.Identity()


def _by_chunks(
    function: Callable[[Tensor, Tensor | None], Tensor], x_BNC: Tensor, mask_BN: Tensor | None, chunk: int
) -> Tensor:
    """Apply a function of nodes by themselves, without the activations of more than a chunk."""
    whole_BNC: Tensor | None = None
    done = 0
    for x_BTC, mask_BT in _chunks(x_BNC, mask_BN, chunk):
        part_BTC = function(x_BTC, mask_BT)
        if whole_BNC is None:
            whole_BNC = part_BTC.new_empty((*x_BNC.shape[:2], part_BTC.shape[2]))
        whole_BNC[:, done : done + x_BTC.shape[1]] = part_BTC
        done += x_BTC.shape[1]
    assert whole_BNC is not None
    return whole_BNC


def _chunks(x_BNC: Tensor, mask_BN: Tensor | None, chunk: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield views of consecutive nodes and of their mask."""
    for start in range(0, x_BNC.shape[1], chunk):
        nodes = slice(start, start + chunk)
        yield x_BNC[:, nodes], None if mask_BN is None else mask_BN[:, nodes]
