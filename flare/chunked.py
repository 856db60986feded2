"""FLARE's two attention calls over the nodes in parts: chunks of one process, slices of many.

Encoding merges the parts by their log-normalisers (`flare.partial_attention`); decoding is the same for
each node.  Both are exact.

Shape suffixes: B cases, H heads, M latent tokens, N nodes, D channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad

from flare.partial_attention import attend, attend_backward, merge
from flare.routing import decode

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

CHUNK = 65_536
"""Nodes at a time: 16 MiB for each 64 channels in float32, and more than enough to fill a device."""

_HIDDEN = {torch.float16: -3e4}
_HIDDEN_OTHERWISE = -1e30
"""Score of padding, by dtype: its weight underflows to exactly zero, and the score itself is finite, so
that a chunk of padding alone has a log-normaliser to be merged by."""


def route_chunked(
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    mask_BN: Tensor | None = None,
    scale: float = 1.0,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """Gather the nodes into latent tokens and scatter these back, both chunk by chunk.

    Beyond inputs and outputs it needs memory for one chunk, however many nodes there are.

    Parameters
    ----------
    q_BHMD : Tensor, (B, H, M, D)
        Latent queries.
    k_BHND, v_BHND : Tensor, (B, H, N, D)
        Keys and values of the nodes; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes; the others give nothing to the latent tokens.
    scale : float
        What scores are multiplied by.
    chunk : int
        Nodes at a time.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.
    """
    z_BHMD = encode_chunked(q_BHMD, k_BHND, v_BHND, mask_BN, scale, chunk=chunk)
    return decode_chunked(q_BHMD, k_BHND, z_BHMD, scale, chunk=chunk)


def encode_chunked(
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    mask_BN: Tensor | None = None,
    scale: float = 1.0,
    *,
    chunk: int = CHUNK,
    group: ProcessGroup | None = None,
) -> Tensor:
    """Gather the nodes into latent tokens: ``softmax(scale q k^T) v``.

    Parameters
    ----------
    q_BHMD, k_BHND, v_BHND, mask_BN, scale, chunk
        As of `route_chunked`.
    group : ProcessGroup, optional
        Processes that hold a slice of the nodes each, maybe an empty one, and the same queries.
        All of them have to call, and to run the backward pass.  The gradient of the queries is then
        this slice's part of it; the sum over the group is the whole.

    Returns
    -------
    Tensor, (B, H, M, D)
        Latent tokens, of the dtype of `v_BHND`; the same in every process of the group.
    """
    z_BHMD: Tensor = _Encode.apply(q_BHMD, k_BHND, v_BHND, mask_BN, scale, chunk, group)
    return z_BHMD


def decode_chunked(
    q_BHMD: Tensor, k_BHND: Tensor, z_BHMD: Tensor, scale: float = 1.0, *, chunk: int = CHUNK
) -> Tensor:
    """Scatter the latent tokens to the nodes, (B, H, N, D): ``softmax(scale k q^T) z``."""
    head_dim = q_BHMD.shape[-1]
    padding = (0, _kernel_width(k_BHND, head_dim) - head_dim)
    q, z = pad(q_BHMD, padding), pad(z_BHMD, padding)
    parts = (decode(q, pad(k, padding), z, scale)[..., :head_dim] for k in k_BHND.split(chunk, dim=2))
    if torch.is_grad_enabled():
        return torch.cat(list(parts), dim=2)
    y_BHND = torch.empty_like(k_BHND, dtype=z_BHMD.dtype)
    for whole, part in zip(y_BHND.split(chunk, dim=2), parts, strict=True):
        whole.copy_(part)
    return y_BHND


class LatentTokens:
    """Latent tokens of the nodes seen so far; outside of automatic differentiation.

    Parameters
    ----------
    q_BHMD : Tensor, (B, H, M, D)
        Latent queries.
    scale : float
        What scores are multiplied by.

    Attributes
    ----------
    z_BHMD : Tensor, (B, H, M, D), float32 or float64
        Attention over all nodes added; zero before the first.
    log_normaliser_BHM : Tensor, (B, H, M), float32 or float64
        ``logsumexp(scale q k^T)`` over these; minus infinity before the first.
    """

    def __init__(self, q_BHMD: Tensor, scale: float = 1.0) -> None:
        self._q_BHMD = q_BHMD
        self._scale = scale
        accumulated = q_BHMD.new_zeros((), dtype=_accumulation_dtype(q_BHMD.dtype))
        self.z_BHMD = accumulated.expand(q_BHMD.shape)
        self.log_normaliser_BHM = (accumulated - torch.inf).expand(q_BHMD.shape[:-1])

    def add(self, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None) -> None:
        """Take in a chunk of nodes: keys and values (B, H, N, D), True in the mask on real nodes."""
        if k_BHND.shape[2] == 0:
            return
        q, k, v = _kernel_inputs(self._q_BHMD, k_BHND, v_BHND, mask_BN)
        z_BHMD, log_normaliser_BHM = attend(q, k, v, self._scale)
        z_BHMD = z_BHMD[..., : self._q_BHMD.shape[-1]].to(self.z_BHMD.dtype)
        self.z_BHMD, self.log_normaliser_BHM = merge(
            torch.stack([self.z_BHMD, z_BHMD]), torch.stack([self.log_normaliser_BHM, log_normaliser_BHM])
        )

    def merge_over(self, group: ProcessGroup) -> None:
        """Merge with what the other processes of the group have seen; numbers sent do not depend on N."""
        largest_BHM = self.log_normaliser_BHM.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(largest_BHM, dist.ReduceOp.MAX, group)
        weights_BHM1 = torch.exp(self.log_normaliser_BHM - largest_BHM)[..., None]
        sums = torch.cat([weights_BHM1 * self.z_BHMD, weights_BHM1], dim=-1)
        dist.all_reduce(sums, dist.ReduceOp.SUM, group)
        self.z_BHMD = sums[..., :-1] / sums[..., -1:]
        self.log_normaliser_BHM = largest_BHM + sums[..., -1].log()


class _Encode(torch.autograd.Function):
    """Attention of the queries over all parts of the nodes.

    With P = exp(S - L) over all parts, the gradient of the scores of one part is
    ``P * (dZ V^T - rowsum(dZ * Z))``: it needs of the other parts no more than L, Z and the sum of dZ.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        scale: float,
        chunk: int,
        group: ProcessGroup | None,
    ) -> Tensor:
        latents = LatentTokens(q, scale)
        for k_part, v_part, mask_part in _split(k, v, mask, chunk):
            latents.add(k_part, v_part, mask_part)
        if group is not None:
            latents.merge_over(group)
        ctx.save_for_backward(q, k, v, mask, latents.z_BHMD, latents.log_normaliser_BHM)
        ctx.scale, ctx.chunk, ctx.group = scale, chunk, group
        return latents.z_BHMD.to(v.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, z, log_normaliser = ctx.saved_tensors
        grad_z = grad_z.to(z.dtype, memory_format=torch.contiguous_format, copy=True)
        if ctx.group is not None:
            dist.all_reduce(grad_z, dist.ReduceOp.SUM, ctx.group)
        head_dim = q.shape[-1]
        grad_q = torch.zeros_like(z)
        grad_k, grad_v = torch.empty_like(k), torch.empty_like(v)
        for (k_part, v_part, mask_part), grad_k_part, grad_v_part in zip(
            _split(k, v, mask, ctx.chunk),
            grad_k.split(ctx.chunk, dim=2),
            grad_v.split(ctx.chunk, dim=2),
            strict=True,
        ):
            if k_part.shape[2] == 0:
                continue
            inputs = _kernel_inputs(q, k_part, v_part, mask_part)
            padding = (0, inputs[0].shape[-1] - head_dim)
            z_wide, grad_z_wide = (pad(t, padding).to(inputs[0].dtype) for t in (z, grad_z))
            grads = attend_backward(grad_z_wide, *inputs, z_wide, log_normaliser, ctx.scale)
            grad_q += grads[0][..., :head_dim]
            grad_k_part.copy_(grads[1][..., :head_dim])
            grad_v_part.copy_(grads[2][..., :head_dim])
        return grad_q.to(q.dtype), grad_k, grad_v, None, None, None, None


def _split(
    k: Tensor, v: Tensor, mask: Tensor | None, chunk: int
) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    ks, vs = k.split(chunk, dim=2), v.split(chunk, dim=2)
    masks = [None] * len(ks) if mask is None else mask.split(chunk, dim=1)
    return list(zip(ks, vs, masks, strict=True))


def _kernel_inputs(q: Tensor, k: Tensor, v: Tensor, mask_BN: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values as kernels want them, the mask as a channel of theirs.

    Kernels that take a mask answer a chunk of padding alone with NaN.
    """
    q, head_dim = q.to(k.dtype), q.shape[-1]
    v = v.to(k.dtype)
    width = _kernel_width(k, head_dim + (mask_BN is not None))
    q, k, v = (pad(t, (0, width - head_dim)) if width > head_dim else t for t in (q, k, v))
    if mask_BN is not None:
        q[..., head_dim] = 1.0
        hidden_BN = torch.where(mask_BN, 0.0, _HIDDEN.get(k.dtype, _HIDDEN_OTHERWISE))
        k[..., head_dim] = hidden_BN[:, None, :]
    return q, k, v


def _kernel_width(k: Tensor, channels: int) -> int:
    """Channels per head to pad to: zeros add nothing to scores.

    Fused kernels on GPUs want multiples of 8.  On two x86 cores, float32, 16 take 30 % less time than
    8 (PyTorch 2.13, ``benchmarks/flare_mixer.py``).
    """
    if k.device.type == "cpu":
        return 16 if k.dtype == torch.float32 and 8 <= channels <= 16 else channels
    return -8 * (-channels // 8)


def _accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
