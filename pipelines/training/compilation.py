"""Compiling a model so that few programs serve batches of all sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch._dynamo.config as dynamo_config

if TYPE_CHECKING:
    from torch import nn

MAX_PROGRAMS = 256
"""Programs of one model: sizes of `bucket` up to a million nodes, in training and in evaluation, for two
numbers of cases.  PyTorch's own limit of 8 would leave all further sizes uncompiled."""


def bucket(nodes: int) -> int:
    """Return the size to which a batch is padded: the next of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ...

    Parameters
    ----------
    nodes : int
        Nodes of the largest case, at least 1.

    Returns
    -------
    int
        Less than half as much again.
    """
    power = 1 << (nodes - 1).bit_length()
    smaller = 3 * power // 4
    return smaller if nodes <= smaller else power


def compile_model(model: nn.Module, *, in_buckets: bool) -> None:
    """Compile a model in place, at its first batches; the names of its parameters stay.

    Parameters
    ----------
    model : Module
        What is trained.
    in_buckets : bool
        Whether batches are padded to sizes of `bucket`, so that each size gets a program of its own.
        Otherwise one program takes every size, which graphs need: no two have as many edges.
    """
    dynamo_config.recompile_limit = MAX_PROGRAMS
    model.compile(dynamic=not in_buckets)
