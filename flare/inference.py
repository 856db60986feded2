"""Prediction for more nodes than activations have room for.

Shape suffixes: B cases, N nodes, C channels, H heads, M latent tokens, D channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from flare.batch import check_batch, zero_padding
from flare.chunked import CHUNK, LatentTokens, decode_chunked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from flare.backbone import FLARE, FLAREBlock
    from flare.mixer import FLAREMixer


@torch.no_grad()
def predict_chunked(
    model: FLARE, x_BNC: Tensor, mask_BN: Tensor | None = None, *, chunk: int = CHUNK
) -> Tensor:
    """Predict as ``model(x_BNC, mask_BN)`` does, to rounding, a chunk of nodes at a time.

    Of all nodes together it keeps input, output and one (B, N, C) tensor, the residual stream.  Each
    block goes over the nodes twice, to gather them into latent tokens and to scatter these back, and
    computes the keys anew the second time.

    Parameters
    ----------
    model : FLARE
        The model; its gradients are not recorded.
    x_BNC, mask_BN
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
    h_BNC = _by_chunks(lambda x, mask: model.in_proj(zero_padding(x, mask)), x_BNC, mask_BN, chunk)
    for block in model.blocks:
        _advance(block, h_BNC, mask_BN, chunk)
    return _by_chunks(lambda h, mask: zero_padding(model.out_proj(h), mask), h_BNC, mask_BN, chunk)


def _advance(block: FLAREBlock, h_BNC: Tensor, mask_BN: Tensor | None, chunk: int) -> None:
    """Replace the residual stream by what the block makes of it."""
    mixer = block.att
    q_BHMD = mixer.latent_queries().expand(len(h_BNC), -1, -1, -1)
    latents = LatentTokens(q_BHMD)
    for h, mask in _chunks(h_BNC, mask_BN, chunk):
        x_BTC = block.norm1(h)
        latents.add(_heads(mixer.k_proj(x_BTC), mixer), _heads(mixer.v_proj(x_BTC), mixer), mask)
    for h, _ in _chunks(h_BNC, None, chunk):
        k_BHTD = _heads(mixer.k_proj(block.norm1(h)), mixer)
        y_BHTD = decode_chunked(q_BHMD, k_BHTD, latents.z_BHMD.to(k_BHTD.dtype), chunk=chunk)
        h += mixer.out_proj(y_BHTD.transpose(1, 2).flatten(2))
        h += block.mlp(block.norm2(h))


def _by_chunks(
    function: Callable[[Tensor, Tensor | None], Tensor], x_BNC: Tensor, mask_BN: Tensor | None, chunk: int
) -> Tensor:
    """Apply a function of nodes by themselves, without the activations of more than a chunk."""
    whole_BNC: Tensor | None = None
    done = 0
    for x, mask in _chunks(x_BNC, mask_BN, chunk):
        part_BTC = function(x, mask)
        if whole_BNC is None:
            whole_BNC = part_BTC.new_empty((*x_BNC.shape[:2], part_BTC.shape[2]))
        whole_BNC[:, done : done + x.shape[1]] = part_BTC
        done += x.shape[1]
    assert whole_BNC is not None
    return whole_BNC


def _chunks(x_BNC: Tensor, mask_BN: Tensor | None, chunk: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield views of consecutive nodes and of their mask."""
    for start in range(0, x_BNC.shape[1], chunk):
        nodes = slice(start, start + chunk)
        yield x_BNC[:, nodes], None if mask_BN is None else mask_BN[:, nodes]


def _heads(x_BNC: Tensor, mixer: FLAREMixer) -> Tensor:
    return x_BNC.unflatten(-1, (mixer.num_heads, -1)).transpose(1, 2)
