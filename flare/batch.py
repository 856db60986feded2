"""What a batch has to satisfy before a model sees it.

`baselines.convention` states the same for the peers of FLARE; neither package imports the other.

Shape suffixes: B cases, N nodes of the largest case, C channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def check_batch(x_BNC: Tensor, mask_BN: Tensor | None, in_channels: int, *, sharded: bool = False) -> None:
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
    sharded : bool
        Whether these are a slice of the nodes, which may have none of a case.

    Raises
    ------
    ValueError
        Naming what differs from the above.
    """
    if x_BNC.ndim != 3 or x_BNC.shape[2] != in_channels:
        raise ValueError(f"input has shape {tuple(x_BNC.shape)}; expected (cases, nodes, {in_channels})")
    if x_BNC.shape[0] == 0:
        raise ValueError("input has no cases; leave the batch out")
    if x_BNC.shape[1] == 0 and not sharded:
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
    if mask_BN.device.type == "cpu" and not sharded and not torch.compiler.is_compiling():
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


def check_weights(x: Tensor, weight: Tensor) -> None:
    """Raise ValueError unless input and weights have one device and, outside autocast, one dtype.

    Weights that a parallel wrapper has cut over processes are left to that wrapper.
    """
    if type(weight) not in (torch.Tensor, torch.nn.Parameter):
        return
    if x.device != weight.device:
        raise ValueError(f"input is on {x.device}, the model on {weight.device}; move one of them")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(f"input is {x.dtype}, the model {weight.dtype}; convert one of them")


def check_condition(condition_BK: Tensor | None, x: Tensor, cases: int, channels: int) -> None:
    """Raise ValueError unless the scalars of the cases are as the model takes them.

    Parameters
    ----------
    condition_BK : Tensor or None, (B, K)
        What describes each case as a whole; None where `channels` is 0.
    x : Tensor
        Node features, whose dtype and device the scalars have.
    cases, channels : int
        B and K.
    """
    if condition_BK is None:
        if channels:
            raise ValueError(f"this model needs a condition of {channels} channels for each case")
        return
    if not channels:
        raise ValueError("this model takes no condition; build it with condition_channels")
    if condition_BK.shape != (cases, channels):
        raise ValueError(f"condition has shape {tuple(condition_BK.shape)}; expected ({cases}, {channels})")
    if condition_BK.dtype != x.dtype or condition_BK.device != x.device:
        raise ValueError(
            f"condition is {condition_BK.dtype} on {condition_BK.device}, input {x.dtype} on {x.device}; "
            "convert one of them"
        )
    check_finite(condition_BK, None, "condition")


def check_finite(x: Tensor, mask_BN: Tensor | None, name: str = "input") -> None:
    """Raise if a feature of a real node is NaN or infinite; in host memory and uncompiled only.

    One such node spoils a whole case through its latent tokens.  Elsewhere the answer would stall the
    device in every step.

    Parameters
    ----------
    x : Tensor, (..., C)
        Features.
    mask_BN : Tensor or None, (B, N), bool
        True on real nodes.
    name : str
        What `x` is called in the message.

    Raises
    ------
    ValueError
        Naming the first such row.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    finite = x.isfinite().all(dim=-1)
    if mask_BN is not None:
        finite = finite | ~mask_BN
    if not finite.all():
        row = tuple((~finite).nonzero()[0].tolist())
        raise ValueError(f"{name} is not finite at {row if len(row) > 1 else row[0]}; repair or leave out")


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
