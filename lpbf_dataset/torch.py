"""Cases as PyTorch Geometric graphs; needs the ``train`` extra.

>>> from torch.utils.data import DataLoader  # doctest: +SKIP
>>> dataset = MeshDataset(open_dataset("lpbf.zarr").train, edges="undirected")  # doctest: +SKIP
>>> loader = DataLoader(dataset, batch_size=4, collate_fn=collate, num_workers=2)  # doctest: +SKIP

A graph takes some milliseconds to read, so try ``num_workers=0`` first: the way from another process may take
longer.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info
from torch_geometric.data import Batch, Data

from lpbf_dataset.mesh.graph import directed_graph, directed_graphs
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

    Workers of a data loader send batches fastest with `collate`, and of graphs with undirected edges, which
    it turns into the above.

    Parameters
    ----------
    cases : lpbf_dataset.Dataset
        Usually one split, ``open_dataset(...).train``.
    inputs, targets : sequence of str
        Columns of ``x`` and ``y``: components (``"displacement_z"``), scalar fields, or vectors,
        which give all their components.
    transform : callable, optional
        Applied to each graph, for example to normalise it.
    edges : {"directed", "undirected", "none"}
        With ``"undirected"``, a graph has ``mesh_edge_index``, [2, E] int32, instead of ``edge_index`` and
        ``edge_attr``, which are most of its bytes; models of point clouds need neither.

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
        *,
        edges: Literal["directed", "undirected", "none"] = "directed",
    ) -> None:
        self._cases = cases
        self._transform = transform
        self._inputs = _columns(inputs)
        self._targets = _columns(targets)
        names = [name for name, _ in (*self._inputs, *self._targets)]
        if absent := [name for name in names if name not in cases.variables]:
            raise StoreError(f"{cases!r} has no variable {absent[0]!r}; build the store with --fields all")
        self._edges = edges
        mesh = ["points"] if edges == "none" else ["points", "edges"]
        self._variables = tuple(dict.fromkeys([*mesh, *names]))

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> Data:
        case = self._cases.read(index, self._variables)
        graph = Data(
            x=_stack(case, self._inputs),
            y=_stack(case, self._targets),
            pos=torch.from_numpy(case.points),
            case_id=case.case_id,
        )
        if self._edges == "undirected":
            graph.mesh_edge_index = torch.from_numpy(case.edges).T
        elif self._edges == "directed":
            edge_index, edge_attr = directed_graph(case.points, case.edges)
            graph.edge_index = torch.from_numpy(edge_index)
            graph.edge_attr = torch.from_numpy(edge_attr)
        return graph if self._transform is None else self._transform(graph)


def collate(graphs: list[Data]) -> Batch:
    """Join graphs into a batch, like the data loader of PyTorch Geometric but with less traffic.

    For the ``collate_fn`` of `torch.utils.data.DataLoader`.  A batch has about twenty tensors, each of which
    would travel from a worker process through a connection and a shared memory of its own; here the
    graphs travel in one piece, and are joined where they arrive.  Undirected edges become directed
    ones there: ``edge_index`` and ``edge_attr`` as `MeshDataset` describes them.

    Parameters
    ----------
    graphs : list of Data
        The graphs.

    Returns
    -------
    Batch
        In a worker process, what becomes one on its way to the main process.
    """
    if get_worker_info():
        # By name: the other way, a file descriptor, takes the two processes a conversation of a millisecond.
        torch.multiprocessing.set_sharing_strategy("file_system")
        return cast("Batch", _Parcel(graphs))
    return _join(graphs)


class _Parcel:
    """Graphs that are pickled with the contents of all their tensors in a single one."""

    def __init__(self, graphs: list[Data]) -> None:
        self._graphs = graphs

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[object, ...]]:
        tensors: list[torch.Tensor] = []
        stream = io.BytesIO()
        _Pickler(stream, tensors).dump(self._graphs)
        ends = np.cumsum([-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors]).tolist()
        contents = torch.empty(ends[-1] if ends else 0, dtype=torch.uint8)
        places = []
        for start, tensor in zip([0, *ends], tensors, strict=False):
            contents[start : start + tensor.nbytes] = tensor.reshape(-1).view(torch.uint8)
            places.append((start, tensor.nbytes, tensor.dtype, tensor.shape))
        return _unpack, (stream.getvalue(), contents, places)


def _unpack(
    graphs: bytes, contents: torch.Tensor, places: Sequence[tuple[int, int, torch.dtype, torch.Size]]
) -> Batch:
    """Undo `_Parcel` in the process that receives it."""
    tensors = [
        contents[start : start + length].view(dtype).view(shape) for start, length, dtype, shape in places
    ]
    return _join(_Unpickler(io.BytesIO(graphs), tensors).load())


def _join(graphs: list[Data]) -> Batch:
    # All is copying, in which more threads would only be in the way of worker processes.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if graphs and "mesh_edge_index" in graphs[0]:
            return _join_undirected(graphs)
        return Batch.from_data_list(graphs)
    finally:
        torch.set_num_threads(threads)


def _join_undirected(graphs: list[Data]) -> Batch:
    """Join graphs and replace their undirected edges, as if each graph had had directed ones."""
    meshes = []
    for graph in graphs:
        meshes.append((graph.pos.numpy(), graph.mesh_edge_index.T.numpy()))
        del graph.mesh_edge_index
    batch = Batch.from_data_list(graphs)
    edge_index, edge_attr = directed_graphs(meshes)
    batch.edge_index = torch.from_numpy(edge_index)
    batch.edge_attr = torch.from_numpy(edge_attr)
    # What takes a batch apart again; PyTorch Geometric has no public way to say it.
    ends = torch.tensor([0, *(2 * len(edges) for _, edges in meshes)]).cumsum(0)
    firsts = {"edge_index": batch.ptr[:-1], "edge_attr": torch.zeros_like(ends[:-1])}
    batch._slice_dict |= dict.fromkeys(firsts, ends)  # noqa: SLF001
    batch._inc_dict |= firsts  # noqa: SLF001
    return batch


ALIGNMENT = 64
"""Bytes on whose multiples tensors begin: a cache line, and more than any dtype asks for."""


class _Pickler(pickle.Pickler):
    """Sets plain tensors aside, in a list."""

    def __init__(self, stream: io.BytesIO, tensors: list[torch.Tensor]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._tensors = tensors

    def persistent_id(self, item: Any) -> int | None:
        if type(item) is not torch.Tensor or item.requires_grad:
            return None
        if item.device.type != "cpu" or item.layout != torch.strided:
            return None
        self._tensors.append(item)
        return len(self._tensors) - 1


class _Unpickler(pickle.Unpickler):
    """Takes the tensors from the list again."""

    def __init__(self, stream: io.BytesIO, tensors: Sequence[torch.Tensor]) -> None:
        super().__init__(stream)
        self._tensors = tensors

    def persistent_load(self, index: int) -> torch.Tensor:
        return self._tensors[index]


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
