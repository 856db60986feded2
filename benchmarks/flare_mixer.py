"""Cost of one FLARE mixing layer against softmax attention, and of its head widening.

Forward and backward of one layer at the LPBF setting (64 channels, 8 heads, 128 latent tokens),
float32, on the CPU.  Times are the shortest of the repeats, the least disturbed by other work:

    python benchmarks/flare_mixer.py
    python benchmarks/flare_mixer.py --nodes 1024 4096 16384 65536 262144
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import torch
from peak_memory import peak_bytes
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from flare import FLAREConfig, FLAREMixer
from flare.routing import route_plain, route_widened

if TYPE_CHECKING:
    from collections.abc import Callable

LPBF = FLAREConfig(in_channels=3, out_channels=1)
LONGEST_STEP = 1.0
"""Seconds beyond which a larger mesh is not tried."""


class SoftmaxAttention(nn.Module):
    """Multi-head attention of every node to every other, the layer that FLARE replaces."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(channels, 3 * channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """Map (B, N, C) to (B, N, C)."""
        qkv = self.qkv_proj(x_BNC).unflatten(-1, (3, self.num_heads, -1))
        q_BHND, k_BHND, v_BHND = qkv.permute(2, 0, 3, 1, 4)
        y_BHND = scaled_dot_product_attention(q_BHND, k_BHND, v_BHND)
        return self.out_proj(y_BHND.transpose(1, 2).flatten(2))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "FLARE": lambda: FLAREMixer(LPBF),
    "softmax": lambda: SoftmaxAttention(LPBF.channels, LPBF.num_heads),
}


def step_seconds(function: Callable[..., Tensor], *inputs: Tensor) -> float:
    """Wall time of one forward and backward pass."""
    start = time.perf_counter()
    function(*inputs).sum().backward()
    return time.perf_counter() - start


def measure(layer: str, nodes: int, repeats: int) -> tuple[float, float]:
    """Shortest step in seconds and bytes it added to the peak; to be run in a fresh process."""
    mixer = LAYERS[layer]()
    step_seconds(mixer, torch.randn(1, 16, LPBF.channels))
    before = peak_bytes()
    x_BNC = torch.randn(1, nodes, LPBF.channels, requires_grad=True)
    times = [step_seconds(mixer, x_BNC) for _ in range(repeats + 1)][1:]
    return min(times), peak_bytes() - before


def fitted_exponent(nodes: list[int], seconds: list[float]) -> float:
    """Slope of log time over log nodes, by least squares over the larger half of the meshes."""
    if len(nodes) < 2:
        return math.nan
    tail = slice(len(nodes) // 2 - 1, None)
    slope, _ = statistics.linear_regression(
        [math.log(n) for n in nodes[tail]], [math.log(s) for s in seconds[tail]]
    )
    return slope


def compare_layers(node_counts: list[int], repeats: int) -> None:
    """Print time and memory of each layer over the number of nodes."""
    print(f"{'layer':8} {'nodes':>8} {'ms':>10} {'peak MiB':>10}")
    for layer in LAYERS:
        nodes, seconds = [], []
        for count in node_counts:
            # A process for each, since the peak of a process never falls.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                duration, memory = pool.submit(measure, layer, count, repeats).result()
            print(f"{layer:8} {count:8d} {duration * 1e3:10.1f} {memory / 2**20:10.1f}", flush=True)
            nodes.append(count)
            seconds.append(duration)
            if duration > LONGEST_STEP:
                break
        print(f"{layer:8} time grows as N^{fitted_exponent(nodes, seconds):.2f}\n")


def compare_widening(nodes: int, repeats: int) -> None:
    """Print the time of the two attention calls with and without widened heads, taken in turn."""
    head_dim = LPBF.channels // LPBF.num_heads
    q_BHMD = torch.randn(1, LPBF.num_heads, LPBF.num_latents, head_dim, requires_grad=True)
    k_BHND, v_BHND = (
        # In the memory order of a projection's output, (B, N, H, D).
        torch.randn(1, nodes, LPBF.num_heads, head_dim).transpose(1, 2).requires_grad_()
        for _ in range(2)
    )
    mask_BN = (torch.arange(nodes) < 0.9 * nodes)[None]
    print(f"{'attention calls, ' + str(nodes) + ' nodes':32} {'ms':>8}")
    for label, mask in (("no mask", None), ("mask", mask_BN)):
        contenders = [partial(function, mask_BN=mask) for function in (route_plain, route_widened)]
        rounds = [
            [step_seconds(contender, q_BHMD, k_BHND, v_BHND) for contender in contenders]
            for _ in range(repeats + 1)
        ]
        for contender, times in zip(contenders, zip(*rounds[1:], strict=True), strict=True):
            print(f"{contender.func.__name__ + ', ' + label:32} {min(times) * 1e3:8.1f}")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[2048, 4096, 8192, 16384, 32768])
    parser.add_argument("--widening-nodes", type=int, default=51_200, help="nodes for the head widening")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}\n")
    compare_layers(sorted(options.nodes), options.repeats)
    compare_widening(options.widening_nodes, options.repeats)


if __name__ == "__main__":
    main()
