"""Spectra and routings of every mixer of a model, on a batch.

Shape suffixes: B cases, N nodes of the largest, C channels, K scalars of a case, H heads, M latent
tokens, D channels per head.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from flare.mixer import FLAREMixer
from flare.spectrum.matrix import mixing_spectrum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    T = TypeVar("T")


class Routing(NamedTuple):
    """What decides how a mixer routes.

    Parameters
    ----------
    queries : Tensor, (H, M, D) or (B, H, M, D)
        Latent queries; with a case dimension where they depend on the case.
    keys : Tensor, (B, H, N, D)
        Keys of the nodes.
    scale : float
        Factor of the scores.
    """

    queries: Tensor
    keys: Tensor
    scale: float


def model_spectra(
    model: nn.Module, x_BNC: Tensor, mask_BN: Tensor | None = None, condition_BK: Tensor | None = None
) -> list[Tensor]:
    """Eigenvalues of every head of every mixer of a model, on a batch.

    Only the keys of one block are held at a time.

    Parameters
    ----------
    model : Module
        Holds mixers of this package; called once, as ``model(x_BNC, mask_BN)``, with `condition_BK`
        as its third argument where there is one.
    x_BNC : Tensor, (B, N, C)
        Node features.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes.
    condition_BK : Tensor, (B, K), optional
        What describes each case as a whole.

    Returns
    -------
    list of Tensor, (B, H, M), float64
        One a mixer, in the order of their calls; as `mixing_spectrum` gives them.

    Raises
    ------
    ValueError
        If the model has no mixer of this package, or as `mixing_spectrum`.
    """

    def spectrum(routing: Routing) -> Tensor:
        return mixing_spectrum(routing.queries, routing.keys, mask_BN, routing.scale)

    return _visit_mixers(model, x_BNC, mask_BN, condition_BK, spectrum)


def model_routings(
    model: nn.Module, x_BNC: Tensor, mask_BN: Tensor | None = None, condition_BK: Tensor | None = None
) -> list[Routing]:
    """Collect queries and keys of every mixer of a model, on a batch.

    Parameters
    ----------
    model, x_BNC, mask_BN, condition_BK
        As for `model_spectra`.

    Returns
    -------
    list of Routing
        One a mixer, in the order of their calls.

    Raises
    ------
    ValueError
        If the model has no mixer of this package.
    """
    return _visit_mixers(model, x_BNC, mask_BN, condition_BK, lambda routing: routing)


def _visit_mixers(
    model: nn.Module,
    x_BNC: Tensor,
    mask_BN: Tensor | None,
    condition_BK: Tensor | None,
    visit: Callable[[Routing], T],
) -> list[T]:
    """Call a model, and a function with the routing of each mixer as the mixer is called."""
    mixers = [module for module in model.modules() if isinstance(module, FLAREMixer)]
    if not mixers:
        raise ValueError(f"{type(model).__name__} has no FLARE mixer, so it has no mixing matrix to look at")
    visited: list[T] = []

    def before_call(mixer: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(mixer, FLAREMixer)
        visited.append(visit(_routing(mixer, arguments[0], mask_BN)))

    with torch.no_grad(), ExitStack() as hooks:
        for mixer in mixers:
            hooks.callback(mixer.register_forward_pre_hook(before_call).remove)
        # A model without conditioning may take no third argument.
        model(x_BNC, mask_BN, *(() if condition_BK is None else (condition_BK,)))
    assert visited, "the mixers of the model were not called"
    return visited


def _routing(mixer: FLAREMixer, x_BNC: Tensor, mask_BN: Tensor | None) -> Routing:
    projected = mixer.project(x_BNC)
    queries = mixer.routing_queries(mask_BN, *projected)
    return Routing(queries, projected[0], mixer.config.score_scale)
