"""What a model sees of the mesh besides features of nodes: its edges, and coarser graphs of these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from baselines.convention import MeshEdges
from baselines.levels_cache import cached_levels
from baselines.mesh_levels import batch_levels, mesh_levels
from lpbf_dataset.mesh.graph import directed_graphs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from baselines.bistride import CoarseGraph
    from baselines.entry import ModelEntry
    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset


class CaseMesh(NamedTuple):
    """The mesh of one case as far as a model sees it.

    Parameters
    ----------
    points : (n, 3) float32 ndarray
        Node positions in mm.  Cells measure about one, so the features of edges need no scaling.
    edges : (e, 2) int32 ndarray
        Undirected edges.
    coarser : tuple of CoarseGraph
        Coarser graphs, from fine to coarse.
    """

    points: NDArray[np.float32]
    edges: NDArray[np.int32]
    coarser: tuple[CoarseGraph, ...] = ()


@dataclass(frozen=True)
class MeshView:
    """How much of the mesh a model sees.

    Parameters
    ----------
    edges : bool
        Whether it sees edges.
    num_levels : int
        Coarser graphs that it sees besides.
    """

    edges: bool = False
    num_levels: int = 0

    @classmethod
    def of_model(cls, entry: ModelEntry[Any], options: Mapping[str, Any]) -> MeshView:
        """Return what a model with these fields of its configuration sees."""
        levels = entry.config_type(**options).num_levels if entry.takes == "levels" else 0
        return cls(edges=entry.takes != "nodes", num_levels=levels)

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables of the store that it is made of."""
        return ("points", "edges") if self.edges else ()

    def of_case(self, case: Case, levels_folder: Path | None = None) -> CaseMesh | None:
        """Return the mesh of a case, None for a model that does not see it.

        Parameters
        ----------
        case : lpbf_dataset.Case
            With the variables.
        levels_folder : Path, optional
            Where coarser graphs are kept, see `levels_folder`.
        """
        if not self.edges:
            return None
        points, edges = case.points, case.edges
        levels = cached_levels(levels_folder, points, edges, self.num_levels) if self.num_levels else ()
        return CaseMesh(points, edges, levels)


def levels_folder(store: Dataset) -> Path | None:
    """Folder beside a local store for the coarser graphs of its meshes; None for a remote store."""
    location = store.location
    return location.with_name(f"{location.name}.levels") if isinstance(location, Path) else None


def mesh_arguments(meshes: Sequence[CaseMesh | None], nodes: int) -> dict[str, Any]:
    """Make the keyword arguments with which a model sees the meshes of a batch.

    Parameters
    ----------
    meshes : sequence of CaseMesh or None
        Of each case, what `MeshView.of_case` returned.
    nodes : int
        N, the rows that each case has in the batch.

    Returns
    -------
    dict
        Nothing for a `baselines.convention.FieldModel`; ``edges``, `MeshEdges`, for a `GraphModel`; for
        a `MultiscaleModel` ``levels``, `MeshLevels`, as well.
    """
    seen = [mesh for mesh in meshes if mesh is not None]
    if not seen:
        return {}
    # The padding counts as nodes, so those of case b are numbered from b * N on.
    endpoints, features = directed_graphs([(_padded(mesh.points, nodes), mesh.edges) for mesh in seen])
    arguments: dict[str, Any] = {"edges": MeshEdges(torch.from_numpy(endpoints), torch.from_numpy(features))}
    if seen[0].coarser:
        levels = [mesh_levels(*mesh) for mesh in seen]
        arguments["levels"] = batch_levels(levels, [len(mesh.points) for mesh in seen], nodes)
    return arguments


def _padded(points: NDArray[np.float32], nodes: int) -> NDArray[np.float32]:
    return np.pad(points, ((0, nodes - len(points)), (0, 0))) if len(points) < nodes else points
