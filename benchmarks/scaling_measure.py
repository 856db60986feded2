"""One measurement of `flare_scaling`, to be run in a process of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peak_memory import peak_bytes
from scaling_layers import CHANNELS, LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

WARM_UP_NODES = 64


class Measurement(NamedTuple):
    """Shortest forward and backward pass in seconds, and the most memory held, input included."""

    nodes: int
    forward_s: float
    backward_s: float
    peak_bytes: float


class Setting(NamedTuple):
    """Where and how to measure: device, name of the dtype, repeats, and processor in place of wall time."""

    device: str
    dtype: str
    repeats: int
    processor_time: bool


def measure(layer: str, latents: int, nodes: int, setting: Setting) -> Measurement | None:
    """Measure one layer on one mesh; None if it does not fit into the memory of the GPU."""
    device, kind = setting.device, getattr(torch, setting.dtype)
    torch.manual_seed(0)
    mixer = LAYERS[layer].build(latents).to(device, kind)
    # Libraries load and kernels compile here, and not in what is counted.
    small = torch.randn(1, WARM_UP_NODES, CHANNELS, device=device, dtype=kind, requires_grad=True)
    timed_step(mixer, small, setting)
    before = 0.0 if device == "cuda" else peak_bytes(device)
    try:
        x_BNC = torch.randn(1, nodes, CHANNELS, device=device, dtype=kind, requires_grad=True)
        steps = [timed_step(mixer, x_BNC, setting) for _ in range(setting.repeats + 1)][1:]
    except torch.OutOfMemoryError:
        return None
    forward_s, backward_s = (min(times) for times in zip(*steps, strict=True))
    return Measurement(nodes, forward_s, backward_s, peak_bytes(device) - before)


def timed_step(mixer: nn.Module, x_BNC: Tensor, setting: Setting) -> tuple[float, float]:
    """Seconds of a forward and of a backward pass."""
    on_gpu = setting.device == "cuda"
    tick: Callable[[], Any] = time.process_time if setting.processor_time else time.perf_counter
    if on_gpu:
        tick = gpu_tick
    start = tick()
    y_BNC = mixer(x_BNC)
    middle = tick()
    # The gradient of a sum would be an expanded scalar, which some kernels copy first.
    y_BNC.backward(torch.ones_like(y_BNC))
    end = tick()
    if not on_gpu:
        return middle - start, end - middle
    torch.cuda.synchronize()
    return start.elapsed_time(middle) / 1e3, middle.elapsed_time(end) / 1e3


def gpu_tick() -> torch.cuda.Event:
    """Mark this place in the work of the GPU, without waiting for it."""
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
