"""What a batch has to satisfy before a model sees it.

`baselines.convention` states the same for the peers of FLARE; neither package imports the other.

Shape suffixes: B cases, N nodes of the largest case, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def check_batch(x_BNC: Tensor, mask_BN: Tensor | None, in_channels: int) -> None:
    """Raise unless input and mask belong together.

    Shapes, dtypes and devices are checked always.  That no case is empty is checked where the
    mask lies in host memory and the model is not compiled; elsewhere the answer would stall the
    device in every step, so there the caller checks, once, with `check_no_empty_case`.

    Parameters
    ----------
    x_BNC : Tensor, (B, N, C), floating point
        Node features.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes; None if all are.
    in_channels : int
        The C that the model takes.

    Raises
    ------
    ValueError
        Naming what differs from the above.
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
    if mask_BN.device.type == "cpu" and not torch.compiler.is_compiling():
        check_no_empty_case(mask_BN)


def check_no_empty_case(mask_BN: Tensor) -> None:
    """Raise if a case of the batch has no real node; waits for the device the mask is on.

    Parameters
    ----------
    mask_BN : Tensor, (B, N), bool
        True on real nodes.

    Raises
    ------
    ValueError
        Naming the empty cases by their index in the batch.
    """
    empty_B = ~mask_BN.any(dim=1)
    if empty_B.any():
        indices = ", ".join(str(i) for i in empty_B.nonzero().flatten().tolist())
        raise ValueError(f"mask hides every node of case {indices} of the batch; leave empty cases out")


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
