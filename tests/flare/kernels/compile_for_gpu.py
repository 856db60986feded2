"""Compile the kernels in Triton for compute capability 9.0, as they would be launched, on any machine.

Prints as JSON what each kernel uses: registers of a thread, and bytes of stack, of shared and of local
memory.  Run with ``TRITON_INTERPRET=0``, since the interpreter compiles nothing.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from flare.kernels import triton_backward, triton_forward

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"

NODES, HEADS = 1000, 8
LATENTS = {8: 144, 16: 64}
"""By channels per head: more than a tile holds and no more, since gradients of more are added up."""


class NoDevice:
    """What Triton asks of a driver before it compiles."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiled:
    """Stands for a kernel; a launch compiles it and runs nothing."""

    def __init__(self, kernel: Any, usage: dict[str, dict[str, int]]) -> None:
        self.kernel = kernel
        self.usage = usage

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return partial(self.compile, grid=grid)

    def compile(self, *arguments: Any, **options: Any) -> None:
        compiled = self.kernel.warmup(*arguments, **options)
        flags = [name for name in ("TO_LATENTS", "MASKED", "ADD") if options.get(name)]
        name = " ".join([self.kernel.__name__, str(arguments[0].dtype), f"D={options['D']}", *flags])
        self.usage[name] = resource_usage(compiled.asm["cubin"])


def resource_usage(cubin: bytes) -> dict[str, int]:
    """Registers and bytes of memory of the one kernel in an object file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        report = subprocess.run(
            [CUOBJDUMP, "--dump-resource-usage", path], capture_output=True, text=True, check=True
        ).stdout
    return {name: int(number) for name, number in re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", report)}


def main() -> None:
    """Compile both kernels in both directions."""
    driver.set_active(NoDevice())
    usage: dict[str, dict[str, int]] = {}
    triton_forward.attend_kernel = Compiled(triton_forward.attend_kernel, usage)
    triton_backward.attend_backward_kernel = Compiled(triton_backward.attend_backward_kernel, usage)
    for dtype, head_dim in itertools.product((torch.float32, torch.bfloat16), LATENTS):
        q = torch.zeros(1, HEADS, LATENTS[head_dim], head_dim, dtype=dtype)
        k = torch.zeros(1, NODES, HEADS, head_dim, dtype=dtype).transpose(1, 2)
        mask = torch.ones(1, NODES, dtype=torch.bool)
        z, normaliser = triton_forward.encode_forward(q, k, k, mask, 1.0)
        triton_backward.attend_backward(z, q, k, k, mask, z, normaliser, 1.0, True)
        y, normaliser = triton_forward.decode_forward(q, k, z, 1.0)
        triton_backward.attend_backward(y, q, k, z, None, y, normaliser, 1.0, False)
    print(json.dumps(usage, indent=1))


if __name__ == "__main__":
    main()
