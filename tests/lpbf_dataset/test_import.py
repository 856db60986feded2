from __future__ import annotations

import subprocess
import sys

import pytest

import lpbf_dataset


def test_importing_stays_light():
    script = """
import sys, time
start = time.perf_counter()
import lpbf_dataset
seconds = time.perf_counter() - start
heavy = {"torch", "pyvista", "numba", "tensorstore"} & set(sys.modules)
sys.exit(f"{seconds:.2f} s, {heavy}" if heavy or seconds > 1 else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_public_names():
    assert all(hasattr(lpbf_dataset, name) for name in lpbf_dataset.__all__)
    assert issubclass(lpbf_dataset.StoreError, ValueError)
    with pytest.raises(AttributeError, match="open_datasets"):
        _ = lpbf_dataset.open_datasets
