"""Attention between few latent tokens and many nodes, on a GPU.

One kernel serves both directions.  A program takes a block of queries, walks over keys in tiles, and
rescales what it has whenever it meets a larger score, so that no score leaves the registers.  With
nodes as keys there are few queries, so the keys are cut into parts, as many as fill the device, whose
outcomes are merged by their log-normalisers (`flare.partial_attention`).

Shape suffixes: B cases, H heads, M latent tokens, N nodes, D channels per head, P parts.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from flare.kernels.triton_tiles import (
    WIDTH,
    as_latent_rows,
    as_node_rows,
    block_of,
    launch,
    load_mask,
    load_rows,
    part_size,
    rows_of,
    store_rows,
)
from flare.partial_attention import merge

BLOCK_LATENTS = 64
BLOCK_NODES = 64
WARPS = 4
"""Tiles of scores, and groups of 32 threads to a program: no dtype or D spills registers (sm_90)."""


@triton.jit
def attend_kernel(
    queries: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    mask: tl.tensor,
    out: tl.tensor,
    log_normaliser: tl.tensor,
    scale: tl.tensor,
    heads: tl.tensor,
    case_heads: tl.tensor,
    num_queries: tl.tensor,
    num_keys: tl.tensor,
    keys_per_part: tl.tensor,
    TO_LATENTS: tl.constexpr,
    MASKED: tl.constexpr,
    D: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Write `out` and `log_normaliser` for a block of queries over one part of the keys."""
    # Heads of the same nodes share cache lines, so they run at the same time: the heads vary fastest.
    case_head = tl.program_id(0) % case_heads
    block_and_part = tl.program_id(0) // case_heads
    query_blocks = tl.cdiv(num_queries, BLOCK_QUERIES)
    part = block_and_part // query_blocks

    query = block_and_part % query_blocks * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    is_query = query < num_queries
    query_rows = rows_of(query, case_head, heads, num_queries, not TO_LATENTS)
    q = load_rows(queries, query_rows, is_query, D)

    # Finite, so that a part of padding alone has differences of scores and a log-normaliser.
    peak = tl.full([BLOCK_QUERIES], -1e38, tl.float32)
    weight = tl.zeros([BLOCK_QUERIES], tl.float32)
    weighted = tl.zeros([BLOCK_QUERIES, WIDTH], tl.float32)
    first = part * keys_per_part
    last = tl.minimum(first + keys_per_part, num_keys)
    for start in range(first, last, BLOCK_KEYS):
        key = start + tl.arange(0, BLOCK_KEYS)
        is_key = key < last
        key_rows = rows_of(key, case_head, heads, num_keys, TO_LATENTS)
        k = load_rows(keys, key_rows, is_key, D)
        v = load_rows(values, key_rows, is_key, D)
        if MASKED:
            is_key = load_mask(mask, key, is_key, case_head, heads, num_keys)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = tl.where(is_key[None, :], scores, -float("inf"))
        new_peak = tl.maximum(peak, tl.max(scores, axis=1))
        exponentials = tl.exp(scores - new_peak[:, None])
        shrink = tl.exp(peak - new_peak)
        weight = weight * shrink + tl.sum(exponentials, axis=1)
        weighted = tl.dot(exponentials.to(v.dtype), v, weighted * shrink[:, None], input_precision=PRECISION)
        peak = new_peak

    weight = tl.where(weight > 0, weight, 1.0)
    out_rows = query_rows + part.to(tl.int64) * case_heads * num_queries
    store_rows(out, out_rows, is_query, weighted / weight[:, None], D)
    tl.store(log_normaliser + out_rows, peak + tl.log(weight), mask=is_query)


def encode_forward(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Gather the nodes into latent tokens.

    Parameters
    ----------
    q_BHMD, k_BHND, v_BHND, mask_BN, scale
        As of `flare.routing.Route`; the tensors of one dtype.

    Returns
    -------
    z_BHMD : Tensor, (B, H, M, D)
        ``softmax(scale q k^T) v``.
    log_normaliser_BHM : Tensor, (B, H, M), float32
        ``logsumexp(scale q k^T)`` over real nodes.
    """
    (B, H, M, D), N = q_BHMD.shape, k_BHND.shape[2]
    block = block_of(M, BLOCK_LATENTS)
    blocks = B * H * triton.cdiv(M, block)
    per_part = part_size(N, blocks, BLOCK_NODES)
    parts = triton.cdiv(N, per_part)
    z_PBHMD = torch.empty(parts, B, H, M, D, dtype=torch.float32, device=q_BHMD.device)
    log_normaliser_PBHM = torch.empty(parts, B, H, M, dtype=torch.float32, device=q_BHMD.device)
    launch(
        *(attend_kernel, blocks * parts),
        *(as_latent_rows(q_BHMD), as_node_rows(k_BHND), as_node_rows(v_BHND)),
        *(None if mask_BN is None else mask_BN.contiguous(), z_PBHMD, log_normaliser_PBHM),
        sizes=(scale, H, B * H, M, N, per_part),
        TO_LATENTS=True,
        MASKED=mask_BN is not None,
        D=D,
        BLOCK_QUERIES=block,
        BLOCK_KEYS=BLOCK_NODES,
        num_warps=WARPS,
    )
    z_BHMD, log_normaliser_BHM = merge(z_PBHMD, log_normaliser_PBHM)
    return z_BHMD.to(v_BHND.dtype), log_normaliser_BHM


def decode_forward(q_BHMD: Tensor, k_BHND: Tensor, z_BHMD: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Scatter the latent tokens to the nodes.

    Parameters
    ----------
    q_BHMD, k_BHND, scale
        As of `flare.routing.Route`.
    z_BHMD : Tensor, (B, H, M, D)
        Latent tokens, of the dtype of the others.

    Returns
    -------
    y_BHND : Tensor, (B, H, N, D)
        ``softmax(scale k q^T) z``, in the memory order of nodes.
    log_normaliser_BNH : Tensor, (B, N, H), float32
        ``logsumexp(scale k q^T)`` over latent tokens.
    """
    (B, H, M, D), N = q_BHMD.shape, k_BHND.shape[2]
    y_BNHD = torch.empty(B, N, H, D, dtype=z_BHMD.dtype, device=z_BHMD.device)
    log_normaliser_BNH = torch.empty(B, N, H, dtype=torch.float32, device=z_BHMD.device)
    launch(
        *(attend_kernel, B * H * triton.cdiv(N, BLOCK_NODES)),
        *(as_node_rows(k_BHND), as_latent_rows(q_BHMD), as_latent_rows(z_BHMD)),
        *(None, y_BNHD, log_normaliser_BNH),
        sizes=(scale, H, B * H, N, M, M),
        TO_LATENTS=False,
        MASKED=False,
        D=D,
        BLOCK_QUERIES=BLOCK_NODES,
        BLOCK_KEYS=block_of(M, BLOCK_LATENTS),
        num_warps=WARPS,
    )
    return y_BNHD.transpose(1, 2), log_normaliser_BNH
