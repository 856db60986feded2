"""The route through fused kernels in Triton, for GPUs.

PyTorch's own kernels spread over a GPU by batch, heads and queries, and leave most of it idle where
few latent tokens gather many nodes; they also want D to be larger than FLARE's 8 or 16.  These kernels
spread over the nodes in either direction and in the backward pass, and sum in float32 in an order that
does not change from run to run.

They are operators of PyTorch, so that a model that uses them compiles to one graph.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from triton.runtime.jit import JITFunction

from flare.folding import autocast
from flare.kernels.derivatives import refuse_second_derivative
from flare.kernels.triton_backward import attend_backward
from flare.kernels.triton_forward import attend_kernel, decode_forward, encode_forward
from flare.kernels.triton_tiles import MOST_CHANNELS
from flare.routing import encode, route_plain

INTERPRETED = not isinstance(attend_kernel, JITFunction)
"""Whether the kernels run in Triton's interpreter, on any device: ``TRITON_INTERPRET=1`` at import."""

# Triton's interpreter (3.9) multiplies the bit patterns of bfloat16 as if they were integers.
DTYPES = (torch.float32, torch.float16) if INTERPRETED else (torch.float32, torch.float16, torch.bfloat16)


def route_triton(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Route by kernels made for few queries and many keys, or the reverse, and heads of few channels.

    Takes the plain route for what is not float32, bfloat16 or float16 on an NVIDIA GPU, and for heads of more
    than 16 channels.  Products of float32 keep its digits unless
    ``torch.set_float32_matmul_precision`` allows fewer.  Not timed on a GPU yet.

    Parameters
    ----------
    q_BHMD, k_BHND, v_BHND, mask_BN, scale
        As of `flare.routing.Route`.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.  Differentiable once.
    """
    q, k, v = autocast(q_BHMD, k_BHND, v_BHND)
    if not _fits(q, k, v):
        return route_plain(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    z_BHMD, _ = _attend(q, k, v, mask_BN, scale, True)
    y_BHND, _ = _attend(q, k, z_BHMD, None, scale, False)
    return y_BHND


def encode_triton(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Do the first half of `route_triton` alone."""
    q, k, v = autocast(q_BHMD, k_BHND, v_BHND)
    if not _fits(q, k, v):
        return encode(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    z_BHMD, _ = _attend(q, k, v, mask_BN, scale, True)
    return z_BHMD


def _fits(*tensors: Tensor) -> bool:
    alike = all(t.device == tensors[0].device and t.dtype == tensors[0].dtype for t in tensors)
    runs = INTERPRETED or tensors[0].device.type == "cuda"
    return alike and runs and tensors[0].dtype in DTYPES and tensors[0].shape[-1] <= MOST_CHANNELS


@torch.library.custom_op(
    "flare::attend",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor values, Tensor? mask, float scale, bool to_latents)"
    " -> (Tensor, Tensor)",
)
def _attend(
    q: Tensor, k: Tensor, values: Tensor, mask: Tensor | None, scale: float, to_latents: bool
) -> tuple[Tensor, Tensor]:
    """Encode nodes or decode latent tokens; the second output is the log-normaliser."""
    return encode_forward(q, k, values, mask, scale) if to_latents else decode_forward(q, k, values, scale)


@_attend.register_fake
def _attend_shapes(
    q: Tensor, k: Tensor, _values: Tensor, _mask: Tensor | None, _scale: float, to_latents: bool
) -> tuple[Tensor, Tensor]:
    if to_latents:
        return _like_latents(q), q.new_empty(q.shape[:3], dtype=torch.float32)
    B, H, N, _ = k.shape
    return _like_nodes(k), k.new_empty((B, N, H), dtype=torch.float32)


_attend_backward = torch.library.custom_op(
    "flare::attend_backward",
    attend_backward,
    mutates_args=(),
    schema="(Tensor grad_out, Tensor q_BHMD, Tensor k_BHND, Tensor values, Tensor? mask_BN, Tensor out,"
    " Tensor log_normaliser, float scale, bool to_latents) -> (Tensor, Tensor, Tensor)",
)


@_attend_backward.register_fake
def _attend_backward_shapes(
    _grad_out: Tensor, q: Tensor, k: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    to_latents = rest[-1]
    return _like_latents(q), _like_nodes(k), _like_nodes(k) if to_latents else _like_latents(q)


def _like_latents(q_BHMD: Tensor) -> Tensor:
    return q_BHMD.new_empty(q_BHMD.shape)


def _like_nodes(k_BHND: Tensor) -> Tensor:
    return k_BHND.new_empty(k_BHND.transpose(1, 2).shape).transpose(1, 2)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, values, mask, ctx.scale, ctx.to_latents = inputs
    ctx.save_for_backward(q, k, values, mask, *output)


def _differentiate(ctx: Any, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    refuse_second_derivative('compute the model under flare.routing.forced_route("plain")')
    return *_attend_backward(grad_out, *ctx.saved_tensors, ctx.scale, ctx.to_latents), None, None, None


_attend.register_autograd(_differentiate, setup_context=_keep)
