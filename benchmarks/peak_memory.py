"""Peak memory of the process that measures, or of its GPU."""

from __future__ import annotations

import math
from pathlib import Path

import torch


def peak_bytes(device: str = "cpu") -> float:
    """Most memory this process has held; NaN for host memory where the system does not tell."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
