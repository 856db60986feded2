"""Files as the published code writes them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CASE_NAME = "21477_babb9c34_4"
CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])


def published_arrays(seed: int = 0, case_name: str = CASE_NAME) -> dict[str, Any]:
    """Return one unit cell with random fields, in the published names, dtypes and shapes."""
    rng = np.random.default_rng(seed)
    ends = np.array(
        [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
    )
    metadata = {"metadata": {"case_name": case_name, "zmax": None, "time_steps": 1}}
    return {
        "edge_index": np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0).T,
        "elems": np.arange(8, dtype=np.int32)[None],
        "temp": rng.normal(size=(8, 1)).astype(np.float32),
        "disp": rng.normal(size=(8, 3)).astype(np.float32),
        "vmstr": rng.normal(size=(8, 1)).astype(np.float32),
        "pos": CORNERS.astype(np.float32),
        "_metadata": np.array([json.dumps(metadata)], dtype=object),
    }


def write_npz(path: Path, **changes: Any) -> Path:
    """Write a published case, with some arrays changed, or left out where the change is None."""
    arrays = {**published_arrays(), **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def npy_bytes(array: Any) -> bytes:
    """Return a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_around(pickled: bytes) -> bytes:
    """Return the ``.npy`` file of an object array with another pickle in it."""
    whole = npy_bytes(np.array([None], dtype=object))
    return whole[: whole.index(b"\n") + 1] + pickled


@pytest.fixture(scope="session")
def make_npz() -> Callable[..., Path]:
    """Return `write_npz`."""
    return write_npz


@pytest.fixture(scope="session")
def to_npy() -> Callable[[Any], bytes]:
    """Return `npy_bytes`."""
    return npy_bytes


@pytest.fixture(scope="session")
def around() -> Callable[[bytes], bytes]:
    """Return `npy_around`."""
    return npy_around
