"""What a run was computed with: versions, machine and the content of the store."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import lpbf_dataset
from lpbf_dataset.schema import SPLITS

if TYPE_CHECKING:
    from lpbf_dataset.store.reader import Dataset

PACKAGES = ("torch", "lightning", "numpy", "scikit-learn", "zarr")


def store_fingerprint(store: Dataset) -> str:
    """SHA-256 of what a store holds, wherever it lies: its cases, their splits, sizes and statistics.

    Reads the case table and the attributes, not the fields; the moments of every field are in the
    attributes.
    """
    content = {
        "cases": store.case_table.to_csv(),
        "normalization": store.attributes["normalization"],
        "source_hashes": store.attributes.get("source_hashes"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def environment(store: Dataset, path: str, device: torch.device, dtype: str) -> dict[str, Any]:
    """Describe versions, machine and store.

    Parameters
    ----------
    store : Dataset
        Every case of the store.
    path : str
        Where it lies.
    device : device
        Where the model is trained.
    dtype : str
        What matrix products are computed in.
    """
    return {
        "versions": {
            "python": platform.python_version(),
            "lpbf-toolkit": lpbf_dataset.__version__,
            **{name: version(name) for name in PACKAGES},
        },
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "dtype": dtype,
            "float32_products": torch.get_float32_matmul_precision(),
        },
        "store": {
            "path": path,
            "fingerprint": store_fingerprint(store),
            "cases": {split: len(store.split(split)) for split in SPLITS},
        },
    }


def _processor() -> str:
    """Model of the processor; its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
