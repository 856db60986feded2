"""The calling convention that every surrogate shares.

``model(x_BNC, mask_BN=None) -> y_BNO``.  A model that needs more than node features takes it in further
keyword arguments, such as the mesh edges of `GraphModel`; these two keep their meaning.

Shape suffixes: B cases, N nodes of the largest case, C input channels, O output channels, E directed
edges of all cases, F features of an edge.
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
        Senders and receivers; node n of case b is number b * N + n.  None is padding.
    features : Tensor, (E, 4)
        As `EDGE_FEATURES` says, in the lengths of the node features.
    """

    endpoints: Tensor
    features: Tensor


class GraphModel(Protocol):
    """A `FieldModel` that sees the mesh: nodes exchange messages along edges."""

    def __call__(self, x_BNC: Tensor, mask_BN: Tensor | None = None, *, edges: MeshEdges) -> Tensor:
        """Predict a field on the nodes of each case; see `FieldModel`."""


def check_edges(edges: MeshEdges, x_BNC: Tensor) -> None:
    """Raise unless the edges are as `MeshEdges` describes them.

    Parameters
    ----------
    edges : MeshEdges
        The edges.
    x_BNC : Tensor, (B, N, C)
        The nodes they join.

    Raises
    ------
    ValueError
        Naming what does not fit.  Node numbers are looked at in host memory and uncompiled only.
    """
    endpoints, features = edges
    shape, count = tuple(endpoints.shape), endpoints.shape[-1] if endpoints.ndim else 0
    if shape != (2, count) or endpoints.dtype != torch.int64:
        raise ValueError(f"edge endpoints are {shape} {endpoints.dtype}; expected (2, edges) torch.int64")
    if features.shape != (count, EDGE_FEATURES):
        raise ValueError(
            f"edge features have shape {tuple(features.shape)}; expected {(count, EDGE_FEATURES)}"
        )
    devices = endpoints.device, features.device, x_BNC.device
    if len(set(devices)) > 1:
        raise ValueError("edges and input are on {}, {} and {}; move them together".format(*devices))
    if endpoints.device.type != "cpu" or torch.compiler.is_compiling() or not endpoints.numel():
        return
    nodes = x_BNC.shape[0] * x_BNC.shape[1]
    if endpoints.min() < 0 or endpoints.max() >= nodes:
        raise ValueError(f"edges name nodes {endpoints.min()} to {endpoints.max()}; the batch has {nodes}")


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
