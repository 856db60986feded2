"""Training step of FLARE against the published module, in time and memory.

Forward, backward and AdamW of the whole model at the LPBF setting (8 blocks, 64 channels, 8 heads,
128 latent tokens), float32.  The same weights go through the published module and through ours with
each lever on: the route of the attention core, the way of the residual MLPs, and checkpointing of these.
Steps are taken in
turn, so that other work on the machine disturbs all alike; medians.  The peak memory is that of a
process of its own; on a GPU, of the GPU:

    python benchmarks/flare_training.py
    python benchmarks/flare_training.py --nodes 10000 --repeats 9
    python benchmarks/flare_training.py --device cuda --nodes 1000000
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from flare import FLARE, FLAREConfig, checkpoint_blocks
from flare.fused_mlp import forced_mlp
from flare.routing import ROUTES, forced_route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LPBF = FLAREConfig(in_channels=3, out_channels=1)

PUBLISHED = "published"
AUTO = "ours"

CHECKPOINTED = "ours, checkpointed"
GPU_ROUTES = ("triton",)
"""Routes that take the plain one on the CPU."""


class PublishedFLARE(nn.Module):
    """What vpuri3/FLARE.py computes, with the parameters of one of our models.

    Twin of its ``pdebench/models/flare.py`` operation by operation: activations and skips as tensors
    of their own, two attention calls without a mask per block.
    """

    def __init__(self, model: FLARE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, in_channels) to (B, N, out_channels)."""
        h_BNC = published_mlp(self.model.in_proj, x_BNC)
        for block in self.model.blocks:
            h_BNC = h_BNC + published_mixer(block.att, block.norm1(h_BNC))
            h_BNC = h_BNC + published_mlp(block.mlp, block.norm2(h_BNC))
        norm, mlp = self.model.out_proj
        return published_mlp(mlp, norm(h_BNC))


def published_mlp(mlp: nn.Module, x_BNC: Tensor) -> Tensor:
    """Residual MLP of the published module."""
    h_BNC = gelu(mlp.fc1(x_BNC), approximate="tanh")
    h_BNC = x_BNC + h_BNC if mlp.input_residual else h_BNC
    for fc in mlp.fcs:
        h_BNC = h_BNC + gelu(fc(h_BNC), approximate="tanh")
    return h_BNC + mlp.fc2(h_BNC) if mlp.output_residual else mlp.fc2(h_BNC)


def published_mixer(mixer: nn.Module, x_BNC: Tensor) -> Tensor:
    """Token mixer of the published module."""
    q_HMD = mixer.latent_queries()
    k_BHND, v_BHND = (
        published_mlp(projection, x_BNC).unflatten(-1, (len(q_HMD), -1)).transpose(1, 2)
        for projection in (mixer.k_proj, mixer.v_proj)
    )
    q_BHMD = q_HMD.expand(len(x_BNC), -1, -1, -1)
    z_BHMD = scaled_dot_product_attention(q_BHMD, k_BHND, v_BHND, scale=1.0)
    y_BHND = scaled_dot_product_attention(k_BHND, q_BHMD, z_BHMD, scale=1.0)
    return mixer.out_proj(y_BHND.transpose(1, 2).flatten(2))


@contextmanager
def levers(route: str, mlp: str) -> Iterator[None]:
    """Force both levers."""
    with forced_route(route), forced_mlp(mlp):
        yield


def variant_levers(device: str = "cpu") -> dict[str, tuple[str, str]]:
    """Route and way of the MLP of each variant of ours, by the name it is printed under."""
    names = [route for route in ROUTES if device == "cuda" or route not in GPU_ROUTES]
    routes = {f"ours, route {route}": (route, "plain") for route in names if route != "sharded"}
    return {
        **routes,
        CHECKPOINTED: ("plain", "plain"),
        "ours, MLP fused": ("plain", "fused"),
        AUTO: ("auto", "auto"),
    }


def make_step(variant: str, nodes: int, device: str = "cpu") -> Callable[[], float]:
    """Make a training step that returns its wall time in seconds."""
    torch.manual_seed(0)
    model = FLARE(LPBF).to(device)
    forward = PublishedFLARE(model) if variant == PUBLISHED else model
    if variant == CHECKPOINTED:
        checkpoint_blocks(model)
    chosen = variant_levers(device).get(variant, ("auto", "auto"))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    x_BNC = torch.rand(1, nodes, LPBF.in_channels, device=device)
    target_BNC = torch.rand(1, nodes, LPBF.out_channels, device=device)

    def step() -> float:
        wait_for(device)
        start = time.perf_counter()
        with levers(*chosen):
            loss = torch.linalg.vector_norm(forward(x_BNC) - target_BNC) / torch.linalg.vector_norm(
                target_BNC
            )
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        wait_for(device)
        return time.perf_counter() - start

    return step


def wait_for(device: str) -> None:
    """Return when the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: str = "cpu") -> float:
    """Most memory this process has held; NaN where the system does not tell (other than Linux)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def memory_of_step(variant: str, nodes: int, device: str) -> float:
    """Bytes that two training steps add to the peak; to be run in a fresh process."""
    make_step(variant, 16, device)()
    before = peak_bytes(device)
    step = make_step(variant, nodes, device)
    step()
    step()
    return peak_bytes(device) - before


def in_fresh_process(variant: str, nodes: int, device: str) -> float:
    """`memory_of_step` in a process of its own, since the peak of a process never falls."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(memory_of_step, variant, nodes, device).result()


def step_seconds(variants: list[str], nodes: int, repeats: int, device: str) -> dict[str, float]:
    """Median step of each variant; all take a step in turn, the first of which does not count."""
    steps = {variant: make_step(variant, nodes, device) for variant in variants}
    rounds = [[step() for step in steps.values()] for _ in range(repeats + 1)]
    return {
        variant: statistics.median(times)
        for variant, times in zip(steps, zip(*rounds[1:], strict=True), strict=True)
    }


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=51_200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--variants", nargs="+", help="default: all for the device")
    options = parser.parse_args()
    device, possible = options.device, variant_levers(options.device)
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device")
    variants = [PUBLISHED, *(v for v in options.variants or possible if v != PUBLISHED)]
    for unknown in set(variants) - {PUBLISHED, *possible}:
        parser.error(f"no variant {unknown!r} for {device}; there are {', '.join(map(repr, possible))}")
    seconds = step_seconds(variants, options.nodes, options.repeats, device)
    memory = {variant: in_fresh_process(variant, options.nodes, device) for variant in variants}
    hardware = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {hardware}")
    print(f"training step, {options.nodes} nodes, {LPBF.num_blocks} blocks, float32\n")
    print(f"{'variant':24} {'seconds':>8} {'times as fast':>14} {'peak MiB':>9} {'of its peak':>12}")
    for variant in variants:
        speed, share = seconds[PUBLISHED] / seconds[variant], memory[variant] / memory[PUBLISHED]
        print(
            f"{variant:24} {seconds[variant]:8.2f} {speed:14.2f} {memory[variant] / 2**20:9.0f} {share:12.2f}"
        )


if __name__ == "__main__":
    main()
