"""Gradients of attention between few latent tokens and many nodes, on a GPU.

With W = exp(S - L) of the scores S = scale q k^T and the log-normalisers L that the forward pass kept,
the gradient of the scores is ``W * (dW - delta)``, where dW is a product of a vector of each latent
token and one of each node, and delta the product of an output and its gradient.  Encoding and decoding
differ in which side these come from:

============  ============  ============  =======================  ==================
direction     latent side   node side     L and delta belong to    gradient of values
============  ============  ============  =======================  ==================
encode        dz            v             latent tokens            dv = W^T dz
decode        z             dy            nodes                    dz = W dy
============  ============  ============  =======================  ==================

A program holds a block of latent tokens and walks over one part of the nodes.  What belongs to nodes it
writes; what belongs to latent tokens is summed over the parts afterwards, in the same order each time.
Where the latent tokens are more than a block, the kernel runs once for each block and adds to the
gradients of the nodes: a later launch sees what the former wrote, which programs of one launch do not.

Shape suffixes: B cases, H heads, M latent tokens, N nodes, D channels per head, P parts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl

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

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_NODES = 32


class Tile(NamedTuple):
    """Latent tokens that a program holds, and groups of 32 threads that it consists of."""

    latents: int
    warps: int


TILES = {
    torch.float32: Tile(latents=64, warps=4),
    torch.bfloat16: Tile(latents=128, warps=8),
    torch.float16: Tile(latents=128, warps=8),
}
"""By dtype, the most latent tokens that do not spill registers (sm_90)."""


@triton.jit
def attend_backward_kernel(
    queries: tl.tensor,
    keys: tl.tensor,
    latent_side: tl.tensor,
    node_side: tl.tensor,
    out: tl.tensor,
    log_normaliser: tl.tensor,
    mask: tl.tensor,
    grad_queries: tl.tensor,
    grad_keys: tl.tensor,
    grad_values: tl.tensor,
    scale: tl.tensor,
    heads: tl.tensor,
    case_heads: tl.tensor,
    num_latents: tl.tensor,
    num_nodes: tl.tensor,
    first_latent: tl.tensor,
    nodes_per_part: tl.tensor,
    TO_LATENTS: tl.constexpr,
    MASKED: tl.constexpr,
    ADD: tl.constexpr,
    D: tl.constexpr,
    BLOCK_LATENTS: tl.constexpr,
    BLOCK_NODES: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Write or add to gradients what a block of latent tokens and one part of the nodes give."""
    case_head = tl.program_id(0) % case_heads
    part = tl.program_id(0) // case_heads

    latent = first_latent + tl.arange(0, BLOCK_LATENTS)
    is_latent = latent < num_latents
    latent_rows = rows_of(latent, case_head, heads, num_latents, False)
    q = load_rows(queries, latent_rows, is_latent, D)
    a = load_rows(latent_side, latent_rows, is_latent, D)
    if TO_LATENTS:
        z = load_rows(out, latent_rows, is_latent, D)
        delta = tl.sum(a.to(tl.float32) * z.to(tl.float32), axis=1)[:, None]
        normaliser = tl.load(log_normaliser + latent_rows, mask=is_latent, other=0.0)[:, None]

    grad_q = tl.zeros([BLOCK_LATENTS, WIDTH], tl.float32)
    grad_a = tl.zeros([BLOCK_LATENTS, WIDTH], tl.float32)
    first = part * nodes_per_part
    last = tl.minimum(first + nodes_per_part, num_nodes)
    for start in range(first, last, BLOCK_NODES):
        node = start + tl.arange(0, BLOCK_NODES)
        is_node = node < last
        node_rows = rows_of(node, case_head, heads, num_nodes, True)
        k = load_rows(keys, node_rows, is_node, D)
        b = load_rows(node_side, node_rows, is_node, D)
        is_seen = is_node
        if MASKED:
            is_seen = load_mask(mask, node, is_node, case_head, heads, num_nodes)
        if not TO_LATENTS:
            y = load_rows(out, node_rows, is_node, D)
            delta = tl.sum(b.to(tl.float32) * y.to(tl.float32), axis=1)[None, :]
            normaliser = tl.load(log_normaliser + node_rows, mask=is_node, other=0.0)[None, :]

        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = tl.where(is_latent[:, None] & is_seen[None, :], scores, -float("inf"))
        weights = tl.exp(scores - normaliser)
        grad_weights = tl.dot(a, tl.trans(b), input_precision=PRECISION)
        grad_scores = (weights * (grad_weights - delta) * scale).to(q.dtype)
        weights = weights.to(q.dtype)

        grad_q = tl.dot(grad_scores, k, grad_q, input_precision=PRECISION)
        grad_k = tl.dot(tl.trans(grad_scores), q, input_precision=PRECISION)
        if ADD:
            grad_k += load_rows(grad_keys, node_rows, is_node, D)
        store_rows(grad_keys, node_rows, is_node, grad_k, D)
        if TO_LATENTS:
            grad_b = tl.dot(tl.trans(weights), a, input_precision=PRECISION)
            if ADD:
                grad_b += load_rows(grad_values, node_rows, is_node, D)
            store_rows(grad_values, node_rows, is_node, grad_b, D)
        else:
            grad_a = tl.dot(weights, b, grad_a, input_precision=PRECISION)

    part_rows = latent_rows + part.to(tl.int64) * case_heads * num_latents
    store_rows(grad_queries, part_rows, is_latent, grad_q, D)
    if not TO_LATENTS:
        store_rows(grad_values, part_rows, is_latent, grad_a, D)


def attend_backward(
    grad_out: Tensor,
    q_BHMD: Tensor,
    k_BHND: Tensor,
    values: Tensor,
    mask_BN: Tensor | None,
    out: Tensor,
    log_normaliser: Tensor,
    scale: float,
    to_latents: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one direction of attention.

    Parameters
    ----------
    grad_out : Tensor, (B, H, M, D) or (B, H, N, D)
        Gradient of `out`.
    q_BHMD, k_BHND, mask_BN, scale
        As given to the forward pass.
    values : Tensor
        (B, H, N, D) of nodes to encode, (B, H, M, D) of latent tokens to decode.
    out, log_normaliser : Tensor
        What the forward pass returned.
    to_latents : bool
        Whether nodes were gathered into latent tokens, and not these scattered.

    Returns
    -------
    grad_q_BHMD, grad_k_BHND, grad_values : Tensor
        In the dtype of the inputs.
    """
    (B, H, M, D), N, dtype = q_BHMD.shape, k_BHND.shape[2], k_BHND.dtype
    block = block_of(M, TILES[dtype].latents)
    per_part = part_size(N, B * H, BLOCK_NODES)
    parts = triton.cdiv(N, per_part)
    # Sums over several blocks of latent tokens are kept in full precision until they are complete.
    node_dtype = dtype if block >= M else torch.float32
    grad_of_latents = partial(k_BHND.new_empty, (parts, B, H, M, D), dtype=torch.float32)
    grad_of_nodes = partial(k_BHND.new_empty, (B, N, H, D), dtype=node_dtype)
    grad_q, grad_k = grad_of_latents(), grad_of_nodes()
    grad_values = grad_of_nodes() if to_latents else grad_of_latents()
    latent_side, node_side = (grad_out, values) if to_latents else (values, grad_out)
    inputs = (
        *(as_latent_rows(q_BHMD), as_node_rows(k_BHND), as_latent_rows(latent_side), as_node_rows(node_side)),
        *(as_latent_rows(out) if to_latents else as_node_rows(out), log_normaliser.contiguous()),
        None if mask_BN is None else mask_BN.contiguous(),
    )
    for first_latent in range(0, M, block):
        launch(
            *(attend_backward_kernel, B * H * parts),
            *(*inputs, grad_q, grad_k, grad_values),
            sizes=(scale, H, B * H, M, N, first_latent, per_part),
            TO_LATENTS=to_latents,
            MASKED=mask_BN is not None,
            ADD=first_latent > 0,
            D=D,
            BLOCK_LATENTS=block,
            BLOCK_NODES=BLOCK_NODES,
            num_warps=TILES[dtype].warps,
        )
    grad_k = grad_k.transpose(1, 2)
    grad_values = grad_values.transpose(1, 2) if to_latents else grad_values.sum(dim=0)
    return grad_q.sum(dim=0).to(dtype), grad_k.to(dtype), grad_values.to(dtype)
