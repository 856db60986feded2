"""What the kernels in Triton have in common: where rows lie in memory, and how work is cut for a GPU.

Latent tokens lie (B, H, M, D) in memory and nodes (B, N, H, D), the order in which a projection writes
them; a row is the D channels of one latent token or node in one head.  Products over channels take 16 of
them at least, so a row is padded with zeros in registers, and a tile is rows of 16 channels.

Shape suffixes: B cases, H heads, M latent tokens, N nodes, D channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PROGRAMS = 1024
"""Programs that fill a GPU: 132 multiprocessors, with several on each to hide waiting for memory."""

MOST_CHANNELS = 16
"""Channels per head that a tile holds.  With more, tiles of float32 do not fit the registers."""

WIDTH = tl.constexpr(MOST_CHANNELS)


@triton.jit
def rows_of(
    items: tl.tensor, case_head: tl.tensor, heads: tl.tensor, count: tl.tensor, NODES: tl.constexpr
) -> tl.tensor:
    """Rows of some latent tokens, or of some nodes, out of `count` in each case."""
    case_head = case_head.to(tl.int64)
    if NODES:
        rows = (case_head // heads * count + items) * heads + case_head % heads
    else:
        rows = case_head * count + items
    return rows


@triton.jit
def load_rows(memory: tl.tensor, rows: tl.tensor, real: tl.tensor, D: tl.constexpr) -> tl.tensor:
    """Load rows as a tile; zeros beyond D and where not real."""
    channels = tl.arange(0, WIDTH)
    inside = real[:, None] & (channels < D)[None, :]
    return tl.load(memory + rows[:, None] * D + channels[None, :], mask=inside, other=0.0)


@triton.jit
def store_rows(memory: tl.tensor, rows: tl.tensor, real: tl.tensor, tile: tl.tensor, D: tl.constexpr) -> None:
    """Store a tile where `load_rows` would load it from, in the dtype of the memory."""
    channels = tl.arange(0, WIDTH)
    inside = real[:, None] & (channels < D)[None, :]
    tl.store(memory + rows[:, None] * D + channels[None, :], tile, mask=inside)


@triton.jit
def load_mask(
    mask: tl.tensor,
    nodes: tl.tensor,
    real: tl.tensor,
    case_head: tl.tensor,
    heads: tl.tensor,
    count: tl.tensor,
) -> tl.tensor:
    """Load from the mask (B, N) what it says of some nodes; False where not real."""
    case = (case_head // heads).to(tl.int64)
    return tl.load(mask + case * count + nodes, mask=real, other=0) != 0


def as_latent_rows(t_BHMD: Tensor) -> Tensor:
    """Return the same numbers in the memory order of latent tokens."""
    return t_BHMD.contiguous()


def as_node_rows(t_BHND: Tensor) -> Tensor:
    """Return the same numbers, (B, N, H, D), in the memory order of nodes."""
    return t_BHND.transpose(1, 2).contiguous()


def block_of(count: int, most: int) -> int:
    """Rows of a tile where there are `count`: a power of two, 16 at least and `most` at most."""
    return min(most, max(16, triton.next_power_of_2(count)))


def part_size(nodes: int, programs: int, block: int) -> int:
    """Nodes of each part, a multiple of `block`, that make each of `programs` into enough programs."""
    parts = min(triton.cdiv(nodes, block), triton.cdiv(PROGRAMS, programs))
    return triton.cdiv(triton.cdiv(nodes, parts), block) * block


def launch(
    kernel: Any, programs: int, *tensors: Tensor | None, sizes: Sequence[float], **options: Any
) -> None:
    """Run a kernel on the device of its first tensor.

    Parameters
    ----------
    kernel : triton.JITFunction
        Takes tensors, sizes, constants by name, and ``PRECISION``.
    programs : int
        How many programs to run.
    *tensors : Tensor or None
        Memory that it reads and writes.
    sizes : sequence of float
        Its numbers.
    **options
        Its constants, and ``num_warps``, the groups of 32 threads that a program consists of.
    """
    # Three products of halves of the digits round about twice as much as one in float32 (emulated on
    # the CPU), and arithmetic without tensor cores spills registers.
    precision = "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    with torch.cuda.device_of(tensors[0]):
        kernel[(programs,)](*tensors, *sizes, PRECISION=precision, enable_fp_fusion=True, **options)
