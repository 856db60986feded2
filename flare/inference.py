"""Prediction for more nodes than activations have room for.

Shape suffixes: B cases, N nodes, T nodes of a chunk, C channels, K scalars of a case, H heads, M
latent tokens, D channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from flare.backbone import FLAREBlock
from flare.batch import zero_padding
from flare.chunked import CHUNK, LatentTokens, decode_chunked
from flare.mixer import FLAREMixer
from flare.sharding import token_group
from flare.synthesis import SynthesisMixer

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
        As of `FLARE.forward`; of this process, under `token_sharding`.
    chunk : int
        Nodes at a time.

    Returns
    -------
    Tensor, (B, N, out_channels)
        The field; zero on padding.

    Raises
    ------
    ValueError
        As of `FLARE.forward`, or if `chunk` is not positive.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be a positive number of nodes, not {chunk}")
    model.check_input(x_BNC, mask_BN, condition_BK)
    h_BNC = _by_chunks(lambda x, mask: model.in_proj(zero_padding(x, mask)), x_BNC, mask_BN, chunk)
    if condition_BK is not None:
        h_BNC += model.condition_proj(condition_BK)[:, None, :]
    for block in model.blocks:
        assert isinstance(block, FLAREBlock)
        _advance(block, h_BNC, mask_BN, chunk)
    return _by_chunks(lambda h, mask: zero_padding(model.out_proj(h), mask), h_BNC, mask_BN, chunk)


def _advance(block: FLAREBlock, h_BNC: Tensor, mask_BN: Tensor | None, chunk: int) -> None:
    """Replace the residual stream by what the block makes of it."""
    mixer, norm = block.att, block.norm1
    assert isinstance(mixer, FLAREMixer)
    scale, group = mixer.config.score_scale, token_group()

    def gather(q_BHMD: Tensor, project: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        """Gather the keys and values that are projected from all nodes."""
        latents = LatentTokens(q_BHMD, scale)
        for h_BTC, mask_BT in _chunks(h_BNC, mask_BN, chunk):
            k_BHTD, v_BHTD = project(norm(h_BTC))
            latents.add(k_BHTD, v_BHTD, mask_BT)
        if group is not None:
            latents.merge_over(group)
        return latents.z_BHMD.to(v_BHTD.dtype)

    if isinstance(mixer, SynthesisMixer):
        summary_BHMD = gather(mixer.seeds(len(h_BNC)), mixer.project_summarised)
        q_BHMD = mixer.queries_from_summary(summary_BHMD)
    else:
        q_BHMD = mixer.fixed_queries(len(h_BNC))
    z_BHMD = mixer.mix_latents(gather(q_BHMD, mixer.project_routed))
    for h_BTC, _ in _chunks(h_BNC, None, chunk):
        k_BHTD = mixer.project_keys(norm(h_BTC))
        h_BTC += mixer.project_out(decode_chunked(q_BHMD, k_BHTD, z_BHMD, scale, chunk=chunk))
        h_BTC += block.mlp(block.norm2(h_BTC))


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
    """Yield views of consecutive nodes and of their mask: one, without nodes, if there are none."""
    for start in range(0, max(1, x_BNC.shape[1]), chunk):
        nodes = slice(start, start + chunk)
        yield x_BNC[:, nodes], None if mask_BN is None else mask_BN[:, nodes]
