"""Optimisers by name, each with one learning rate for all parameters of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim import AdamW, Muon, Optimizer

from baselines.convention import EDGE_FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

    from pipelines.training.options import TrainOptions


class MuonWithAdamW(Optimizer):
    """Muon on matrices of hidden layers and AdamW on all else, as one optimiser.

    The first group of parameters are the matrices, the second the others; schedules see both.  Muon's
    update is scaled to the root mean square of AdamW's (Liu et al., Muon is Scalable for LLM Training,
    arXiv 2502.16982), so that one learning rate and weight decay, as tuned for AdamW, fit both.

    Parameters
    ----------
    matrices : iterable of Parameter
        Of two dimensions each.
    others : iterable of Parameter
        All else.
    lr, betas, weight_decay
        As of AdamW; Muon's momentum is 0.95 (Jordan et al., kellerjordan.github.io/posts/muon).
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self._parts: tuple[Optimizer, Optimizer] = (
            Muon([{"params": list(matrices)}], adjust_lr_fn="match_rms_adamw", **common),
            AdamW([{"params": list(others)}], betas=betas, **common),
        )
        super().__init__([group for part in self._parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step with both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part, group in zip(self._parts, self.param_groups, strict=True):
            # Loading a checkpoint puts other objects in the place of groups and state.
            part.param_groups, part.state = [group], self.state
            part.step()
        return loss


def hidden_matrices(model: nn.Module, in_channels: int, out_channels: int) -> list[nn.Parameter]:
    """Return the weights of linear layers from hidden features to hidden features.

    Muon's authors leave embeddings, the first and the last layer, biases and gains to AdamW.  First are
    here the layers that take features of nodes or of edges, last those that give the targets; latent
    queries, which belong to no linear layer, count as embeddings.

    Parameters
    ----------
    model : Module
        Any model of the toolkit; its linear layers keep (out, in) matrices named ``weight``.
    in_channels, out_channels : int
        Features of its nodes, and its targets.
    """
    weights = [p for name, p in model.named_parameters() if name.endswith("weight") and p.ndim == 2]
    first = {in_channels, EDGE_FEATURES}
    return [p for p in weights if p.shape[1] not in first and p.shape[0] != out_channels]


def make_optimizer(
    model: nn.Module, options: TrainOptions, *, in_channels: int, out_channels: int
) -> Optimizer:
    """Make the optimiser that the options ask for, over every parameter of a model.

    AdamW and Lion keep all parameters in one group, so weight decay acts on biases and gains as well, as
    in the published recipe; `MuonWithAdamW` keeps two.

    Parameters
    ----------
    model : Module
        What is trained.
    options : TrainOptions
        Optimiser, learning rate, averages and weight decay.
    in_channels, out_channels : int
        Features of its nodes, and its targets.
    """
    lr, betas, weight_decay = options.learning_rate, options.betas, options.weight_decay
    parameters: list[nn.Parameter] = list(model.parameters())
    if options.optimizer == "adamw":
        return AdamW(parameters, lr, betas, weight_decay=weight_decay)
    if options.optimizer == "lion":
        from lion_pytorch import Lion  # type: ignore[import-untyped]

        return Lion(parameters, lr, betas, weight_decay)
    matrices = hidden_matrices(model, in_channels, out_channels)
    is_matrix: set[Tensor] = set(matrices)
    others = [parameter for parameter in parameters if parameter not in is_matrix]
    return MuonWithAdamW(matrices, others, lr=lr, betas=betas, weight_decay=weight_decay)
