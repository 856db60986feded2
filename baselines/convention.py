"""The calling convention that every surrogate shares.

``model(x_BNC, mask_BN=None) -> y_BNO``.  A model that needs more than node features takes it in further
keyword arguments, such as the mesh edges of `GraphModel`; these two keep their meaning.

Shape suffixes: B cases, N nodes of the largest case, C input channels, O output channels, E directed
edges of all cases, F features of an edge, K nodes of a coarser level, L links between two levels.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class FieldModel(Protocol):
    """A model that maps features of mesh nodes to a field on these nodes.

    A case gets the same from a padded batch as alone, to rounding; what the padding holds, NaN
    included, reaches neither outputs nor gradients.
    """

    def __call__(self, x_BNC: Tensor, mask_BN: Tensor | None = None) -> Tensor:
        """Predict a field on the nodes of each case.

        Parameters
        ----------
        x_BNC : Tensor, (B, N, C), floating point
            Node features, cases padded to the N of the largest.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes, anywhere along N; not needed if all nodes are real.

        Returns
        -------
        Tensor, (B, N, O)
            The field; zero on padding.

        Raises
        ------
        ValueError
            If shapes, dtypes or devices do not fit, or a case has no real node.  The latter is
            looked for in host memory and uncompiled only: on an accelerator it would stall the
            device in every step.
        """


EDGE_FEATURES = 4
"""Position of the receiver relative to the sender, along x, y and z, and its length."""


class MeshEdges(NamedTuple):
    """The directed edges of all cases of a batch, both ways.

    Parameters
    ----------
    endpoints : Tensor, (2, E) int64
        Senders and receivers; node n of case b is number b * N + n.  Both are real nodes of one case.
    features : Tensor, (E, 4), dtype of the node features
        As `EDGE_FEATURES` says, in a unit in which edges measure about one.
    """

    endpoints: Tensor
    features: Tensor


class GraphModel(Protocol):
    """A `FieldModel` that sees the mesh: nodes exchange messages along edges."""

    def __call__(self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges) -> Tensor:
        """Predict a field on the nodes of each case; see `FieldModel`.

        Nodes may have no edge, and there may be none at all.

        Raises
        ------
        ValueError
            As of `FieldModel`, or if the edges are not as `MeshEdges` describes them, see `check_edges`.
        """


class MeshLevel(NamedTuple):
    """A coarser graph of the meshes of all cases of a batch, and how it hangs on the next finer one.

    Parameters
    ----------
    node_count : int
        K, its nodes of all cases together, numbered from 0.
    links : Tensor, (2, L) int64
        Nodes of the finer level and nodes of this one; features go from the former to the latter and
        back.  In the finest level node n of case b is number b * N + n.  None is padding.
    weights : Tensor, (L,)
        Of each link.  Those to one node of this level sum to one.
    edges : MeshEdges
        Between its nodes.
    """

    node_count: int
    links: Tensor
    weights: Tensor
    edges: MeshEdges


MeshLevels = tuple[MeshLevel, ...]
"""The coarser graphs of a batch, from fine to coarse; the mesh itself is not among them."""


class MultiscaleModel(Protocol):
    """A `GraphModel` that also sees coarser graphs of the mesh, through which messages go far."""

    def __call__(
        self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges, levels: MeshLevels
    ) -> Tensor:
        """Predict a field on the nodes of each case; see `FieldModel`."""


def check_edges(edges: MeshEdges, x_BNC: Tensor, mask_BN: Tensor | None = None) -> None:
    """Raise unless the edges are as `MeshEdges` describes them.

    Parameters
    ----------
    edges : MeshEdges
        The edges.
    x_BNC, mask_BN : Tensor
        The nodes they join, which `check_batch` has passed.

    Raises
    ------
    ValueError
        Naming what does not fit.  Node numbers are looked at in host memory and uncompiled only.
    """
    cases, nodes = x_BNC.shape[:2]
    _check_edges_between(edges, cases * nodes, x_BNC.device)
    if edges.features.dtype != x_BNC.dtype:
        raise ValueError(
            f"edge features are {edges.features.dtype}, input is {x_BNC.dtype}; convert one of them"
        )
    if x_BNC.device.type != "cpu" or torch.compiler.is_compiling():
        return
    sender_cases, receiver_cases = edges.endpoints.div(nodes, rounding_mode="floor")
    if not torch.equal(sender_cases, receiver_cases):
        raise ValueError("an edge joins two cases; number node n of case b as b * N + n")
    if mask_BN is not None and not mask_BN.flatten()[edges.endpoints].all():
        raise ValueError("an edge ends at padding; number node n of case b as b * N + n")


def check_levels(levels: MeshLevels, x_BNC: Tensor) -> None:
    """Raise unless the levels are as `MeshLevel` describes them.

    Parameters
    ----------
    levels : MeshLevels
        The coarser graphs.
    x_BNC : Tensor, (B, N, C)
        The nodes of the finest level.

    Raises
    ------
    ValueError
        Naming the level, counted from 1, and what does not fit.  Node numbers are looked at in host
        memory and uncompiled only.
    """
    finer_count = x_BNC.shape[0] * x_BNC.shape[1]
    for number, level in enumerate(levels, start=1):
        try:
            _check_links(level, finer_count, x_BNC.device)
            _check_edges_between(level.edges, level.node_count, x_BNC.device)
        except ValueError as error:
            raise ValueError(f"level {number}: {error}") from error
        finer_count = level.node_count


def _check_links(level: MeshLevel, finer_count: int, device: torch.device) -> None:
    links, weights = level.links, level.weights
    shape, count = tuple(links.shape), links.shape[-1] if links.ndim else 0
    if shape != (2, count) or links.dtype != torch.int64:
        raise ValueError(f"links are {shape} {links.dtype}; expected (2, links) torch.int64")
    if weights.shape != (count,):
        raise ValueError(f"link weights have shape {tuple(weights.shape)}; expected {(count,)}")
    devices = links.device, weights.device, device
    if len(set(devices)) > 1:
        raise ValueError("links and input are on {}, {} and {}; move them together".format(*devices))
    _check_numbers("links", links[0], finer_count)
    _check_numbers("links", links[1], level.node_count)


def _check_edges_between(edges: MeshEdges, node_count: int, device: torch.device) -> None:
    endpoints, features = edges
    shape, count = tuple(endpoints.shape), endpoints.shape[-1] if endpoints.ndim else 0
    if shape != (2, count) or endpoints.dtype != torch.int64:
        raise ValueError(f"edge endpoints are {shape} {endpoints.dtype}; expected (2, edges) torch.int64")
    if features.shape != (count, EDGE_FEATURES):
        raise ValueError(
            f"edge features have shape {tuple(features.shape)}; expected {(count, EDGE_FEATURES)}"
        )
    devices = endpoints.device, features.device, device
    if len(set(devices)) > 1:
        raise ValueError("edges and input are on {}, {} and {}; move them together".format(*devices))
    _check_numbers("edges", endpoints, node_count)


def _check_numbers(name: str, numbers: Tensor, node_count: int) -> None:
    """Raise if a node number is out of range; an accelerator is not waited for."""
    if numbers.device.type != "cpu" or torch.compiler.is_compiling() or not numbers.numel():
        return
    if numbers.min() < 0 or numbers.max() >= node_count:
        raise ValueError(f"{name} name nodes {numbers.min()} to {numbers.max()}; the batch has {node_count}")


def check_batch(x_BNC: Tensor, mask_BN: Tensor | None, in_channels: int) -> None:
    """Raise unless input and mask are as `FieldModel` takes them.

    Parameters
    ----------
    x_BNC, mask_BN : Tensor
        As in `FieldModel`.
    in_channels : int
        The C that the model takes.

    Raises
    ------
    ValueError
        Naming what does not fit.
    """
    if x_BNC.ndim != 3 or x_BNC.shape[2] != in_channels:
        raise ValueError(f"input has shape {tuple(x_BNC.shape)}; expected (cases, nodes, {in_channels})")
    if x_BNC.shape[1] == 0:
        raise ValueError("input has no nodes; leave empty cases out of the batch")
    if not x_BNC.is_floating_point():
        raise ValueError(f"input is {x_BNC.dtype}; expected a floating-point dtype")
    if mask_BN is None:
        return
    if mask_BN.shape != x_BNC.shape[:2]:
        raise ValueError(f"mask has shape {tuple(mask_BN.shape)}; expected {tuple(x_BNC.shape[:2])}")
    if mask_BN.dtype != torch.bool:
        raise ValueError(f"mask is {mask_BN.dtype}; expected torch.bool, True on real nodes")
    if mask_BN.device != x_BNC.device:
        raise ValueError(f"mask is on {mask_BN.device}, input on {x_BNC.device}; move one of them")
    if mask_BN.device.type == "cpu" and not torch.compiler.is_compiling() and not mask_BN.any(dim=1).all():
        raise ValueError("mask hides every node of a case; leave empty cases out of the batch")


def zero_padding(x_BNC: Tensor, mask_BN: Tensor | None) -> Tensor:
    """Set padded rows to zero, whatever they held, and stop gradients into them.

    Parameters
    ----------
    x_BNC : Tensor, (B, N, C)
        Features, arbitrary (NaN included) where the mask is False.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes; None returns the input itself.
    """
    # A product with the mask would keep NaN.
    return x_BNC if mask_BN is None else x_BNC.masked_fill(~mask_BN[..., None], 0.0)
