"""Packed batches: the nodes of many cases one after another, without padding.

What a model does to each node by itself runs on all of them at once; attention runs case by case.

Shape suffixes: B cases, T nodes of all cases together, C channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_packed(x_TC: Tensor, in_channels: int) -> None:
    """Raise ValueError unless `x_TC` is (T, in_channels), floating point."""
    if x_TC.ndim != 2 or x_TC.shape[1] != in_channels:
        raise ValueError(f"packed input has shape {tuple(x_TC.shape)}; expected (nodes, {in_channels})")
    if not x_TC.is_floating_point():
        raise ValueError(f"input is {x_TC.dtype}; expected a floating-point dtype")


def case_lengths(offsets: Tensor | Sequence[int], nodes: int) -> list[int]:
    """Nodes of each case.

    Parameters
    ----------
    offsets : Tensor or sequence of int, (B + 1,)
        Exclusive prefix sums of the node counts, from 0 to `nodes`.
    nodes : int
        Nodes of all cases together, T.

    Raises
    ------
    ValueError
        If they are not integers along one axis, or do not begin at 0, end at `nodes` and rise: a case
        without nodes is to be left out.
    """
    if isinstance(offsets, Tensor):
        if offsets.ndim != 1:
            raise ValueError(f"offsets have shape {tuple(offsets.shape)}; expected one axis of integers")
        if offsets.is_floating_point():
            raise ValueError(f"offsets are {offsets.dtype}; expected integers")
        offsets = offsets.tolist()
    bounds = [int(i) for i in offsets]
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != nodes:
        raise ValueError(
            f"offsets go from {bounds[0] if bounds else 'nothing'} to {bounds[-1] if bounds else 'nothing'}; "
            f"expected to begin at 0 and to end at the number of nodes, {nodes}"
        )
    lengths = [end - start for start, end in pairwise(bounds)]
    for case, length in enumerate(lengths):
        if length < 1:
            raise ValueError(f"case {case} has {length} nodes by its offsets; leave empty cases out")
    return lengths


def spread(values_BC: Tensor, lengths: Sequence[int]) -> Tensor:
    """Give each node the row of its case: (T, C)."""
    counts = torch.tensor(lengths, device=values_BC.device)
    return values_BC.repeat_interleave(counts, dim=0, output_size=sum(lengths))
