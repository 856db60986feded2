"""Encode and decode with the nodes of a case folded into the batch.

A fused kernel spreads over a GPU by batch, heads and queries.  Encoding has few queries and many
keys, and so has the backward pass of decoding: one long case occupies 8 to 16 of 132 multiprocessors.
Cut into S slices of equal length it occupies S times as many.  Decoding is the same for each node,
so slices change nothing; encoding is merged from them (`flare.partial_attention`).

Shape suffixes: B cases, H heads, M latent tokens, N nodes, D channels per head, S slices, T nodes of
a slice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from flare.partial_attention import attend, attend_backward, merge

SLICE_NODES = 4096
"""Least nodes of a slice: 10^6 nodes in 8 heads then make 2000 blocks or more."""

_HIDDEN = -3e4
"""Score added to padding, whose weight it underflows to exactly zero; finite in float16 as well."""

_MASK_CHANNELS = 8
"""Channels added to hold the mask: what fused kernels want D to be a multiple of."""


def encode_folded(
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    mask_BN: Tensor | None = None,
    scale: float = 1.0,
    slice_nodes: int = SLICE_NODES,
) -> Tensor:
    """Gather the nodes into latent tokens, slice by slice.

    Parameters
    ----------
    q_BHMD, k_BHND, v_BHND, mask_BN, scale
        As of `flare.routing.Route`.
    slice_nodes : int
        Least nodes of a slice.

    Returns
    -------
    Tensor, (B, H, M, D)
        Latent tokens.
    """
    q, k, v = autocast(q_BHMD, k_BHND, v_BHND)
    if mask_BN is not None:
        q, k, v = _mask_as_channels(q, k, v, mask_BN, scale)
    z_BHMD: Tensor = _SlicedAttention.apply(q, k, v, scale, slice_nodes)
    return z_BHMD[..., : q_BHMD.shape[-1]]


def decode_folded(
    q_BHMD: Tensor, k_BHND: Tensor, z_BHMD: Tensor, scale: float = 1.0, slice_nodes: int = SLICE_NODES
) -> Tensor:
    """Scatter the latent tokens to the nodes, slice by slice: (B, H, N, D)."""
    parts = []
    for k_XHTD, slices in _cut(k_BHND, slice_nodes):
        q_XHMD, z_XHMD = _repeat(q_BHMD, slices), _repeat(z_BHMD, slices)
        y_XHTD = scaled_dot_product_attention(k_XHTD, q_XHMD, z_XHMD, scale=scale)
        parts.append(_unfold(y_XHTD, slices))
    return _join(parts)


class _SlicedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, slice_nodes: int) -> Tensor:
        z_parts, log_normaliser_parts = [], []
        for (k_XHTD, slices), (v_XHTD, _) in zip(_cut(k, slice_nodes), _cut(v, slice_nodes), strict=True):
            z, log_normaliser = attend(_repeat(q, slices), k_XHTD, v_XHTD, scale)
            z_parts.append(z.unflatten(0, (-1, slices)).transpose(0, 1))
            log_normaliser_parts.append(log_normaliser.unflatten(0, (-1, slices)).transpose(0, 1))
        z_BHMD, log_normaliser_BHM = merge(torch.cat(z_parts), torch.cat(log_normaliser_parts))
        ctx.save_for_backward(q, k, v, z_BHMD, log_normaliser_BHM)
        ctx.scale, ctx.slice_nodes = scale, slice_nodes
        return z_BHMD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, z, log_normaliser = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.zeros_like(q), [], []
        for (k_XHTD, slices), (v_XHTD, _) in zip(
            _cut(k, ctx.slice_nodes), _cut(v, ctx.slice_nodes), strict=True
        ):
            grad_q_XHMD, grad_k_XHTD, grad_v_XHTD = attend_backward(
                _repeat(grad_z, slices),
                _repeat(q, slices),
                k_XHTD,
                v_XHTD,
                _repeat(z, slices),
                _repeat(log_normaliser, slices),
                ctx.scale,
            )
            grad_q += grad_q_XHMD.unflatten(0, (-1, slices)).sum(dim=1)
            grad_k.append(_unfold(grad_k_XHTD, slices))
            grad_v.append(_unfold(grad_v_XHTD, slices))
        return grad_q, _join(grad_k), _join(grad_v), None, None


def _cut(t_BHND: Tensor, slice_nodes: int) -> list[tuple[Tensor, int]]:
    """Slices of equal length as one batch, (B * S, H, T, D), and S; then what remains, as one slice."""
    nodes = t_BHND.shape[2]
    slices = max(1, nodes // slice_nodes)
    even = nodes - nodes % slices
    folded = t_BHND[:, :, :even].unflatten(2, (slices, -1)).transpose(1, 2).flatten(0, 1)
    rest = [] if even == nodes else [(t_BHND[:, :, even:], 1)]
    return [(folded, slices), *rest]


def _repeat(t_BHM: Tensor, slices: int) -> Tensor:
    """Repeat each case once for each of its slices, (B * S, H, M, ...)."""
    return t_BHM.repeat_interleave(slices, dim=0) if slices > 1 else t_BHM


def _unfold(t_XHTD: Tensor, slices: int) -> Tensor:
    """Undo the folding of `_cut`."""
    return t_XHTD.unflatten(0, (-1, slices)).transpose(1, 2).flatten(2, 3)


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _mask_as_channels(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Add a channel whose product is zero on real nodes and hides padding.

    A slice may be padding alone, which kernels that take a mask answer with NaN.
    """
    ones = q_BHMD.new_full((*q_BHMD.shape[:-1], 1), 1 / scale)
    hidden_BN = torch.zeros_like(mask_BN, dtype=k_BHND.dtype).masked_fill(~mask_BN, _HIDDEN)
    hidden_BHN1 = hidden_BN[:, None, :, None].expand(-1, k_BHND.shape[1], -1, -1)
    return (
        pad(torch.cat([q_BHMD, ones], dim=-1), (0, _MASK_CHANNELS - 1)),
        pad(torch.cat([k_BHND, hidden_BHN1], dim=-1), (0, _MASK_CHANNELS - 1)),
        pad(v_BHND, (0, _MASK_CHANNELS)),
    )


def autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast as autocast does for PyTorch's own attention, and not for the kernels below it."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t if t.dtype == torch.float64 else t.to(dtype) for t in tensors)
