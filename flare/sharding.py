"""One case over many processes: each holds a slice of the nodes and all of the parameters.

Everything in FLARE but the encode acts on nodes by themselves.  The encode merges the latent tokens of
the slices by their log-normalisers (arXiv 2608.11519): B H M (D + 1) numbers are sent per encode
forward, B H M D backward, however many nodes there are.  Both passes are exact.

Training on a mesh of ``data x token`` processes, where those along ``token`` share a case::

    mesh = init_device_mesh("cuda", (cases, ranks), mesh_dim_names=("data", "token"))
    group = mesh.get_group("token")
    model = DistributedDataParallel(FLARE(config), process_group=mesh.get_group("data"))
    for x_BNC, target_BNO in loader:                     # the same case on all ranks of `group`
        nodes = local_nodes(x_BNC.shape[1], group)
        x_BNC, target_BNO = x_BNC[:, nodes], target_BNO[:, nodes]
        with token_sharding(group):
            error_BNO = model(x_BNC) - target_BNO
        # Sums over nodes first, over the ranks next, and then whatever is not a sum.
        sums = torch.stack([error_BNO.square().sum(), target_BNO.square().sum()])
        squared_error, squared_target = sum_over_ranks(sums, group)
        (squared_error / squared_target).sqrt().backward()
        sum_gradients(model, group)
        optimizer.step()

Every rank computes the same loss, and its backward pass this rank's part of the gradient of each
parameter.  `sum_gradients` adds the parts up, and has to come before gradients are clipped or used.
With ``DistributedDataParallel`` over all processes instead, which averages, leave it out and multiply
the loss by the number of token ranks.

Shape suffixes: B cases, H heads, M latent tokens, N nodes of this rank, D channels per head.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from flare.batch import check_no_empty_case
from flare.chunked import decode_chunked, encode_chunked
from flare.routing import ENCODERS, ROUTES, forced_route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn
    from torch.distributed import ProcessGroup

# A plain global, and not a context variable: the recomputation of activations in the backward pass
# happens in other threads, and has to see it.
_group: ProcessGroup | None = None


@contextmanager
def token_sharding(group: ProcessGroup) -> Iterator[None]:
    """Have models of this process take the nodes they are given as a slice of a case.

    Parameters
    ----------
    group : ProcessGroup
        Processes that hold the other slices.  All run the same model, with equal parameters and
        batch sizes, forward and backward, or `flare.predict_chunked`.  A slice may be empty or padding
        alone, as long as each case has a real node in some process.
    """
    global _group
    before, _group = _group, group
    try:
        with forced_route("sharded"):
            yield
    finally:
        _group = before


def token_group() -> ProcessGroup | None:
    """Return the group of the innermost `token_sharding`, None outside of any."""
    return _group


def check_no_empty_case_over(group: ProcessGroup, x_BNC: Tensor, mask_BN: Tensor | None) -> None:
    """Raise, on every rank, if a case has no real node on any; in host memory and uncompiled only.

    Parameters
    ----------
    group : ProcessGroup
        As of `token_sharding`.
    x_BNC : Tensor, (B, N, C)
        Features of the nodes of this rank.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes; None if all are.

    Raises
    ------
    ValueError
        Naming the empty cases by their index in the batch.
    """
    if x_BNC.device.type != "cpu" or torch.compiler.is_compiling():
        return
    cases, nodes, _ = x_BNC.shape
    seen_B = torch.full((cases,), nodes > 0) if mask_BN is None else mask_BN.any(dim=1)
    # Backends reduce no booleans.
    seen_B = seen_B.int()
    dist.all_reduce(seen_B, dist.ReduceOp.MAX, group)
    check_no_empty_case(seen_B[:, None] > 0)


@torch.compiler.disable
def encode_sharded(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Gather the nodes of all ranks into latent tokens, the same on all; see `token_sharding`."""
    return encode_chunked(q_BHMD, k_BHND, v_BHND, mask_BN, scale, group=_group)


def route_sharded(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Mix the nodes of all ranks, and return those of this one; see `token_sharding`.

    Parameters
    ----------
    q_BHMD : Tensor, (B, H, M, D)
        Latent queries, the same on all ranks.
    k_BHND, v_BHND : Tensor, (B, H, N, D)
        Keys and values of the nodes of this rank; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes.
    scale : float
        What scores are multiplied by.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.
    """
    z_BHMD = encode_sharded(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    return decode_chunked(q_BHMD, k_BHND, z_BHMD, scale)


def local_nodes(num_nodes: int, group: ProcessGroup) -> slice:
    """Slice of the nodes that is this rank's; lengths differ by one at most.

    Parameters
    ----------
    num_nodes : int
        Nodes of the case.
    group : ProcessGroup
        As of `token_sharding`.
    """
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    return slice(num_nodes * rank // ranks, num_nodes * (rank + 1) // ranks)


def sum_over_ranks(x: Tensor, group: ProcessGroup) -> Tensor:
    """Sum over the ranks, the same on all; in the backward pass each rank's own term gets the gradient.

    Right for what every rank goes on to compute alike, such as the loss.
    """
    total: Tensor = _SumOverRanks.apply(x, group)
    return total


def sum_gradients(model: nn.Module, group: ProcessGroup) -> None:
    """Replace the gradients of the parameters by their sum over the ranks.

    Sums in float32, or float64 where the gradients are, by one exchange for each dtype and device.

    Parameters
    ----------
    model : Module
        Its parameters have a gradient on all ranks or on none.
    group : ProcessGroup
        As of `token_sharding`.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    for _, same in groupby(sorted(gradients, key=_kind), key=_kind):
        bucket = list(same)
        dtype = torch.promote_types(bucket[0].dtype, torch.float32)
        flat = torch.cat([gradient.to(dtype).flatten() for gradient in bucket])
        dist.all_reduce(flat, dist.ReduceOp.SUM, group)
        for gradient, total in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(total.view_as(gradient))


def _kind(t: Tensor) -> tuple[str, str]:
    return str(t.device), str(t.dtype)


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, dist.ReduceOp.SUM, group)
        return total

    @staticmethod
    def backward(_: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


ROUTES["sharded"] = route_sharded
ENCODERS["sharded"] = encode_sharded
