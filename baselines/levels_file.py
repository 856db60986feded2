"""Files of the coarser graphs of a mesh, so that each mesh is pooled once."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from baselines.bistride import CoarseGraph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class LevelsError(ValueError):
    """A file of levels cannot be used; says which, why, and what to do."""


_DAMAGE = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    MemoryError,
)
"""What the readers of ZIP archives and of NumPy arrays raise for what is none."""


def save_levels(path: Path, node_count: int, graphs: Sequence[CoarseGraph]) -> None:
    """Write what `coarsen` returned as an uncompressed NPZ file.

    Parameters
    ----------
    path : Path
        The file; replaced, once the new one is whole, if it exists.
    node_count : int
        Nodes of the mesh.
    graphs : sequence of CoarseGraph
        The graphs, from fine to coarse.
    """
    arrays: dict[str, Any] = {"node_count": np.int64(node_count)}
    for number, graph in enumerate(graphs, start=1):
        arrays[f"kept_{number}"], arrays[f"edges_{number}"] = graph.kept, graph.edges
    # Several processes may write the same file.
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_levels(path: Path, node_count: int) -> tuple[CoarseGraph, ...]:
    """Read a file that `save_levels` wrote.

    Nothing in the file is executed, and no more is kept of it than it has bytes.

    Parameters
    ----------
    path : Path
        The file.
    node_count : int
        Nodes of the mesh that the levels are wanted for.

    Returns
    -------
    tuple of CoarseGraph
        From fine to coarse.

    Raises
    ------
    LevelsError
        If the file is damaged, or belongs to a mesh with another number of nodes.
    OSError
        If there is no such file, or it cannot be read.
    """
    try:
        arrays = _read_arrays(path)
    except _DAMAGE as error:
        raise _damaged(path, str(error)) from error
    count = arrays.pop("node_count", np.empty(0))
    if count.shape != () or count.dtype != np.int64:
        raise _damaged(path, "it does not say how many nodes the mesh has")
    if count != node_count:
        why = f"levels of a mesh of {count} nodes, not of one of {node_count}"
        raise LevelsError(f"{path}: {why}; remove it to make it anew")
    graphs = []
    for number in range(1, len(arrays) // 2 + 1):
        graph = CoarseGraph(arrays.pop(f"kept_{number}", count), arrays.pop(f"edges_{number}", count))
        if not _is_pooled(graph, node_count):
            raise _damaged(path, f"level {number} is not a graph on nodes of the next finer one")
        graphs.append(graph)
        node_count = len(graph.kept)
    if arrays:
        raise _damaged(path, f"{', '.join(arrays)} of no level")
    return tuple(graphs)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # Compressed members may unpack to any size, and ones that overlap are read more than once.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its parts are larger than it is")
        arrays = {}
        for member in members:
            with archive.open(member) as file:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(
                    file, allow_pickle=False
                )
        return arrays


def _is_pooled(graph: CoarseGraph, finer_count: int) -> bool:
    """Tell whether a graph is as `CoarseGraph` says, and joined from a finer one of so many nodes."""
    kept, edges = graph.kept, graph.edges
    if kept.dtype != np.int32 or kept.ndim != 1 or not len(kept):
        return False
    if edges.dtype != np.int32 or edges.ndim != 2 or edges.shape[1] != 2:
        return False
    first, second = edges.T
    in_order = (kept[1:] > kept[:-1]).all() and (first < second).all()
    in_range = kept[0] >= 0 and kept[-1] < finer_count
    joins_kept = not len(edges) or (first.min() >= 0 and second.max() < len(kept))
    return bool(in_order and in_range and joins_kept)


def _damaged(path: Path, why: str) -> LevelsError:
    return LevelsError(f"{path}: not a file of levels ({why}); remove it to make it anew")
