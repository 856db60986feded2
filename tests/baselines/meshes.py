"""Small made-up meshes."""

from __future__ import annotations

import numpy as np


def block(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and edges of a regular hexahedral mesh."""
    node = np.arange(np.prod(shape)).reshape(shape)
    ends = [np.moveaxis(node, axis, 0) for axis in range(3)]
    edges = np.concatenate([np.column_stack([e[:-1].ravel(), e[1:].ravel()]) for e in ends])
    return np.argwhere(node >= 0).astype(np.float32), edges.astype(np.int32)
