"""Too little memory, told in one line with what to turn."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pipelines.training.options import Job, TrainOptions

REMEDIES = {
    "batch_size": "a smaller --batch_size",
    "node_budget": "a smaller --node_budget",
    "subsample": "--subsample",
    "precision": "--precision bf16-mixed",
    "shard_nodes": "--shard_nodes",
    "recompute": "--model.recompute true",
}
"""What needs less memory, by the option of training or of the model that it turns."""

ALLOCATOR_MESSAGES = ("can't allocate memory", "not enough memory", "out of memory")
"""Of PyTorch's allocators that raise a plain RuntimeError: the CPU's, and that of MPS."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there is too little memory on the device or the host."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in ALLOCATOR_MESSAGES)


def remedies(job: Job[TrainOptions]) -> str:
    """Name the options of a training that save memory and are not turned yet."""
    model = job.model_options
    values = {field.name: getattr(job.training, field.name) for field in fields(job.training)} | model
    useless = {
        "batch_size": values["batch_size"] == 1,
        "node_budget": not values.get("node_budget"),
        "precision": values["precision"] != "32-true",
        "recompute": values.get("recompute"),
    }
    return ", ".join(text for name, text in REMEDIES.items() if name in values and not useless.get(name))
