"""The processes of one training: what they do alone, and what together."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from pipelines.console import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pipelines.training.options import TrainOptions


class RankZeroFailedError(RuntimeError):
    """Rank 0 cannot go on, and tells why itself."""


def are_many() -> bool:
    """Whether there are several processes, connected by now."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_rank_zero() -> bool:
    """Whether this is the process that writes and prints."""
    return not are_many() or dist.get_rank() == 0


def add_up(x: Tensor) -> Tensor:
    """Sum over the ranks, the same on all."""
    total = x.clone()
    if are_many():
        dist.all_reduce(total)
    return total


def gather(value: Any) -> list[Any]:
    """Values of all ranks, by rank, on every rank."""
    if not are_many():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def on_rank_zero(action: Callable[[], None]) -> None:
    """Do something on rank 0 alone, while the others wait for its outcome.

    Raises
    ------
    UserError, OSError
        On rank 0, what `action` raised.
    RankZeroFailedError
        On every other rank, if there was one.
    """
    error: UserError | OSError | None = None
    if is_rank_zero():
        try:
            action()
        except (UserError, OSError) as raised:
            error = raised
    failed = gather(error is not None)[0]
    if error is not None:
        raise error
    if failed:
        raise RankZeroFailedError


def is_told_by_rank_zero() -> bool:
    """Whether another process, started by ``torchrun`` like this one, finds the same mistakes."""
    return dist.is_available() and dist.is_torchelastic_launched() and os.environ["RANK"] != "0"


def of_launcher(options: TrainOptions) -> TrainOptions:
    """Take the numbers of devices and nodes from ``torchrun``, if that started this process.

    Raises
    ------
    UserError
        If other numbers were asked for.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return options
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // devices
    for name, asked, started in (("devices", options.devices, devices), ("nodes", options.nodes, nodes)):
        if asked not in (1, started):
            raise UserError(f"--{name} {asked}: torchrun started {started}; leave the option to torchrun")
    return replace(options, devices=devices, nodes=nodes)
