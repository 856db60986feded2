"""Coarser graphs of meshes, each computed once."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

import numpy as np

from baselines.bistride import coarsen
from baselines.levels_file import LevelsError, load_levels, save_levels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from baselines.bistride import CoarseGraph

logger = logging.getLogger(__name__)


def cached_levels(
    folder: Path | None, points: NDArray[np.floating], edges: NDArray[np.integer], num_levels: int
) -> tuple[CoarseGraph, ...]:
    """Coarsen a mesh, unless a folder holds what became of it before.

    Files are named after what the mesh consists of, so whatever mesh a case has later, it gets its own
    levels.  A damaged file is written anew; a folder that cannot be written costs time and no more.

    Parameters
    ----------
    folder : Path or None
        Where the files are, which several processes may share; None computes every time.
    points, edges, num_levels
        As in `baselines.bistride.coarsen`.

    Returns
    -------
    tuple of CoarseGraph
        From fine to coarse.
    """
    if folder is None:
        return coarsen(points, edges, num_levels)
    digest = hashlib.blake2b(digest_size=16)
    for array in (points, edges):
        digest.update(np.ascontiguousarray(array).data)
    path = folder / f"{digest.hexdigest()}_{num_levels}.npz"
    try:
        return load_levels(path, len(points))
    except FileNotFoundError:
        pass
    except (LevelsError, OSError) as error:
        logger.warning("%s", error)
    graphs = coarsen(points, edges, num_levels)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_levels(path, len(points), graphs)
    except OSError as error:
        logger.warning("cannot keep the levels of a mesh, which are computed anew each time: %s", error)
    return graphs
