"""What a hand-written derivative has to refuse."""

from __future__ import annotations

import torch


def refuse_second_derivative(remedy: str) -> None:
    """Raise if the backward pass that calls this is itself to be differentiated.

    `torch.autograd.function.once_differentiable` stays silent where the gradient that comes in
    requires none, so that the second derivative would be taken for zero.

    Parameters
    ----------
    remedy : str
        What to do instead, as the end of a sentence.

    Raises
    ------
    RuntimeError
        In a backward pass with ``create_graph=True``.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"no second derivative of a fused kernel (create_graph=True): {remedy}")
