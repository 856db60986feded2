"""Cases as PyTorch Geometric graphs; needs the ``train`` extra.

>>> from torch_geometric.loader import DataLoader  # doctest: +SKIP
>>> dataset = MeshDataset(open_dataset("lpbf.zarr").train)  # doctest: +SKIP
>>> loader = DataLoader(
...     dataset, batch_size=4, num_workers=2, multiprocessing_context="spawn"
... )  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch_geometric.data import Data

from lpbf_dataset.schema import VARIABLES, component_names, resolve_scalar
from lpbf_dataset.store.layout import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpbf_dataset.case import Case
    from lpbf_dataset.store.reader import Dataset


class MeshDataset(TorchDataset[Data]):
    """Each case as a graph whose nodes and edges are those of its mesh.

    A graph has, with N nodes and E undirected edges,

    - ``x``: [N, inputs] float32, the input columns, in the units of the store;
    - ``y``: [N, targets] float32, the target columns, likewise;
    - ``pos``: [N, 3] float32, undeformed position in mm;
    - ``edge_index``: [2, 2 E] int64, sender and receiver, every edge in both directions: the
      second half of the columns is the first half reversed;
    - ``edge_attr``: [2 E, 4] float32, position of the receiver minus that of the sender, and its
      length, in mm;
    - ``case_id``: str.

    Workers of a data loader are best started by ``"spawn"``; see `lpbf_dataset.Dataset`.

    Parameters
    ----------
    cases : lpbf_dataset.Dataset
        Usually one split, ``open_dataset(...).train``.
    inputs, targets : sequence of str
        Columns of ``x`` and ``y``: components (``"displacement_z"``), scalar fields, or vectors,
        which give all their components.
    transform : callable, optional
        Applied to each graph, for example to normalise it.

    Raises
    ------
    ValueError
        If there is no such field.
    StoreError
        If the store does not hold it.
    """

    def __init__(
        self,
        cases: Dataset,
        inputs: Sequence[str] = ("points",),
        targets: Sequence[str] = ("displacement_z",),
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        self._cases = cases
        self._transform = transform
        self._inputs = _columns(inputs)
        self._targets = _columns(targets)
        names = [name for name, _ in (*self._inputs, *self._targets)]
        if absent := [name for name in names if name not in cases.variables]:
            raise StoreError(f"{cases!r} has no variable {absent[0]!r}; build the store with --fields all")
        self._variables = tuple(dict.fromkeys(["points", "edges", *names]))

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> Data:
        case = self._cases.read(index, self._variables)
        position = torch.from_numpy(case.points)
        edges = torch.from_numpy(case.edges).long().T.contiguous()
        sender, receiver = edges
        offset = position[receiver] - position[sender]
        edge_attr = torch.cat([offset, offset.norm(dim=1, keepdim=True)], dim=1)
        graph = Data(
            x=_stack(case, self._inputs),
            y=_stack(case, self._targets),
            pos=position,
            edge_index=torch.cat([edges, edges.flip(0)], dim=1),
            edge_attr=torch.cat([edge_attr, edge_attr * torch.tensor([-1.0, -1.0, -1.0, 1.0])]),
            case_id=case.case_id,
        )
        return graph if self._transform is None else self._transform(graph)


Column = tuple[str, int | None]
"""Variable and component, None for a scalar variable."""


def _columns(names: Sequence[str]) -> list[Column]:
    columns: list[Column] = []
    for name in names:
        try:
            variable, component = resolve_scalar(name)
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        if VARIABLES[variable].dim != "node":
            raise ValueError(f"{name!r} is not a nodal field")
        components = range(len(component_names(VARIABLES[variable])))
        if component is None and components:
            columns += [(variable, index) for index in components]
        else:
            columns.append((variable, component))
    return columns


def _stack(case: Case, columns: Sequence[Column]) -> torch.Tensor:
    """[N, columns] float32."""
    values = [
        case.variables[variable] if component is None else case.variables[variable][:, component]
        for variable, component in columns
    ]
    if not values:
        return torch.empty(case.node_count, 0)
    return torch.from_numpy(np.stack(values, axis=1).astype(np.float32, copy=False))
