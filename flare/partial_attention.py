"""Softmax attention over a part of the keys, in a form that the other parts can be added to.

Attention over all keys is the average of that over each part, weighted by how much of the softmax
each part holds: with the log-normalisers L_s of the parts, ``L = logsumexp_s L_s`` and
``Z = sum_s exp(L_s - L) Z_s`` (arXiv 2608.11519).  Given L and Z, the gradients of each part need no
other part.  PyTorch's fused kernels return L but offer no gradient with it, hence the two functions.

Shape suffixes: B batch, H heads, M queries, N keys, D channels per head, S parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

# What scaled_dot_product_attention calls; the names are private, the log-normaliser is had from no other.
_attend_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
_attend_on_cpu_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001
_attend_on_cuda = torch.ops.aten._scaled_dot_product_efficient_attention  # noqa: SLF001
_attend_on_cuda_backward = torch.ops.aten._scaled_dot_product_efficient_attention_backward  # noqa: SLF001

_FUSED_ON_CPU = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_FUSED_ON_CUDA = {torch.float32: 4, torch.bfloat16: 8, torch.float16: 8}
"""Dtypes of the memory-efficient CUDA kernel, each with what D has to be a multiple of."""


def attend(q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Attention and its log-normaliser, outside of automatic differentiation.

    Parameters
    ----------
    q_BHMD : Tensor, (B, H, M, D)
        Queries.
    k_BHND, v_BHND : Tensor, (B, H, N, D)
        Keys and values of this part, one at least, of the dtype of the queries.
    scale : float
        What scores are multiplied by.

    Returns
    -------
    z_BHMD : Tensor, (B, H, M, D)
        ``softmax(scale q k^T) v`` over this part alone.
    log_normaliser_BHM : Tensor, (B, H, M), float64 for float64 and float32 otherwise
        ``logsumexp(scale q k^T)`` over this part.
    """
    if _is_fused_on_cpu(q_BHMD):
        z_BHMD, log_normaliser_BHM = _attend_on_cpu(q_BHMD, k_BHND, v_BHND, scale=scale)
        return z_BHMD, log_normaliser_BHM
    if _is_fused_on_cuda(q_BHMD):
        z_BHMD, log_normaliser_BHM, _, _ = _attend_on_cuda(
            q_BHMD, k_BHND, v_BHND, None, compute_log_sumexp=True, scale=scale
        )
        # The kernel pads its rows to a multiple of 32.
        return z_BHMD, log_normaliser_BHM[..., : q_BHMD.shape[2]]
    scores_BHMN = _accurate(q_BHMD) @ _accurate(k_BHND).mT * scale
    z_BHMD = scores_BHMN.softmax(dim=-1) @ _accurate(v_BHND)
    return z_BHMD.to(q_BHMD.dtype), scores_BHMN.logsumexp(dim=-1)


def attend_backward(
    grad_z_BHMD: Tensor,
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    z_BHMD: Tensor,
    log_normaliser_BHM: Tensor,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of attention over all keys with respect to one part of them.

    Parameters
    ----------
    grad_z_BHMD : Tensor, (B, H, M, D)
        Gradient of attention over all parts.
    q_BHMD, k_BHND, v_BHND, scale
        As given to `attend`.
    z_BHMD, log_normaliser_BHM : Tensor, (B, H, M, D) and (B, H, M)
        Attention and log-normaliser over all parts together, see `merge`.

    Returns
    -------
    grad_q_BHMD : Tensor, (B, H, M, D)
        What this part adds to the gradient of the queries; the sum over the parts is the whole.
    grad_k_BHND, grad_v_BHND : Tensor, (B, H, N, D)
        Gradients of the keys and values of this part.
    """
    if _is_fused_on_cpu(q_BHMD):
        # The kernel walks over the memory order it wrote, (B, M, H).
        log_normaliser_BHM = log_normaliser_BHM.transpose(1, 2).contiguous().transpose(1, 2)
        grads: tuple[Tensor, Tensor, Tensor] = _attend_on_cpu_backward(
            grad_z_BHMD, q_BHMD, k_BHND, v_BHND, z_BHMD, log_normaliser_BHM, 0.0, False, scale=scale
        )
        return grads
    if _is_fused_on_cuda(q_BHMD):
        # Rows padded to a multiple of 32, as the kernel wrote them.
        padding = -q_BHMD.shape[2] % 32
        padded_BHM = torch.nn.functional.pad(log_normaliser_BHM, (0, padding), value=torch.inf)
        # Without dropout the state of the random generator is not looked at.
        unused = torch.zeros((), dtype=torch.int64, device=q_BHMD.device)
        grad_q, grad_k, grad_v, _ = _attend_on_cuda_backward(
            *(grad_z_BHMD, q_BHMD, k_BHND, v_BHND, None, z_BHMD, padded_BHM.contiguous(), unused, unused),
            *(0.0, (True, True, True, False)),
            scale=scale,
        )
        return grad_q, grad_k, grad_v
    q, k, v, z, grad_z = (_accurate(t) for t in (q_BHMD, k_BHND, v_BHND, z_BHMD, grad_z_BHMD))
    weights_BHMN = torch.exp(q @ k.mT * scale - log_normaliser_BHM[..., None])
    grad_v = weights_BHMN.mT @ grad_z
    grad_scores_BHMN = weights_BHMN * (grad_z @ v.mT - (grad_z * z).sum(dim=-1, keepdim=True)) * scale
    dtype = q_BHMD.dtype
    return (grad_scores_BHMN @ k).to(dtype), (grad_scores_BHMN.mT @ q).to(dtype), grad_v.to(dtype)


def merge(z_SBHMD: Tensor, log_normaliser_SBHM: Tensor) -> tuple[Tensor, Tensor]:
    """Attention and log-normaliser over all parts from those over each.

    Parameters
    ----------
    z_SBHMD, log_normaliser_SBHM : Tensor, (S, B, H, M, D) and (S, B, H, M)
        What `attend` returned for each part.
    """
    log_normaliser_BHM = log_normaliser_SBHM.logsumexp(dim=0)
    weights_SBHM = torch.exp(log_normaliser_SBHM - log_normaliser_BHM)
    z_BHMD = (weights_SBHM[..., None] * z_SBHMD).sum(dim=0)
    return z_BHMD.to(z_SBHMD.dtype), log_normaliser_BHM


def _is_fused_on_cpu(t: Tensor) -> bool:
    return t.device.type == "cpu" and t.dtype in _FUSED_ON_CPU


def _is_fused_on_cuda(t: Tensor) -> bool:
    multiple = _FUSED_ON_CUDA.get(t.dtype)
    return t.device.type == "cuda" and multiple is not None and t.shape[-1] % multiple == 0


def _accurate(t: Tensor) -> Tensor:
    return t if t.dtype == torch.float64 else t.float()
