"""The core of FLARE: nodes to latent tokens and back, in two attention calls.

Per head ``z = softmax(s q k^T) v`` (encode), ``y = softmax(s k q^T) z`` (decode): attention whose N x N
matrix has rank M or less and is never formed.  A `Route` computes y; all routes agree to rounding and
differ in speed alone.  `route` takes the fastest, or the one that is asked for by name.

Shape suffixes: B cases, H heads, M latent tokens, N nodes, D channels per head.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from flare.folding import decode_folded, encode_folded

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTO = "auto"
"""Stands for the name of the fastest route."""

FEWEST_SCORES = 2**17
"""Scores of a head below which the route by shared scores spends its time in calls."""


class Encode(Protocol):
    """The first half: gather the nodes into latent tokens."""

    def __call__(
        self,
        q_BHMD: Tensor,
        k_BHND: Tensor,
        v_BHND: Tensor,
        mask_BN: Tensor | None = None,
        scale: float = 1.0,
    ) -> Tensor:
        """Return the latent tokens, (B, H, M, D); arguments as of `Route`."""


class Route(Protocol):
    """Both halves: gather the nodes into latent tokens and scatter these back."""

    def __call__(
        self,
        q_BHMD: Tensor,
        k_BHND: Tensor,
        v_BHND: Tensor,
        mask_BN: Tensor | None = None,
        scale: float = 1.0,
    ) -> Tensor:
        """Mix the nodes of each case.

        Parameters
        ----------
        q_BHMD : Tensor, (B, H, M, D)
            Latent queries.
        k_BHND, v_BHND : Tensor, (B, H, N, D)
            Keys and values of the nodes; finite on padding as well.
        mask_BN : Tensor, (B, N), bool, optional
            True on real nodes, one at least in each case; the others give nothing to the latent tokens.
        scale : float
            What scores are multiplied by.

        Returns
        -------
        Tensor, (B, H, N, D)
            Mixed values; meaningless on padding.
        """


def encode(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Gather the nodes into latent tokens, (B, H, M, D): ``softmax(s q k^T) v``."""
    key_mask_B11N = None if mask_BN is None else mask_BN[:, None, None, :]
    return scaled_dot_product_attention(q_BHMD, k_BHND, v_BHND, attn_mask=key_mask_B11N, scale=scale)


def decode(q_BHMD: Tensor, k_BHND: Tensor, z_BHMD: Tensor, scale: float = 1.0) -> Tensor:
    """Scatter the latent tokens to the nodes, (B, H, N, D): ``softmax(s k q^T) z``."""
    return scaled_dot_product_attention(k_BHND, q_BHMD, z_BHMD, scale=scale)


def route_plain(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Route by the two equations; the reference for all others."""
    return decode(q_BHMD, k_BHND, encode(q_BHMD, k_BHND, v_BHND, mask_BN, scale), scale)


def encode_widened(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Encode with the head dimension zero-padded to twice its size."""
    head_dim = q_BHMD.shape[-1]
    q, k, v = (pad(t, (0, head_dim)) for t in (q_BHMD, k_BHND, v_BHND))
    return encode(q, k, v, mask_BN, scale)[..., :head_dim]


def route_widened(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Route with the head dimension zero-padded to twice its size.

    Zeros add nothing to the scores, and the outputs that belong to them are dropped.
    """
    head_dim = q_BHMD.shape[-1]
    q, k, v = (pad(t, (0, head_dim)) for t in (q_BHMD, k_BHND, v_BHND))
    return route_plain(q, k, v, mask_BN, scale)[..., :head_dim]


def route_folded(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Route with the nodes folded into the batch, for devices that few long cases leave idle."""
    z_BHMD = encode_folded(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    return decode_folded(q_BHMD, k_BHND, z_BHMD, scale)


ROUTES: dict[str, Route | str] = {
    "plain": route_plain,
    "widened": route_widened,
    "folded": route_folded,
    "shared": "flare.kernels.shared_scores:route_shared",
    "triton": "flare.kernels.triton_route:route_triton",
}
"""Every route by name; ``"module:function"`` for one that is imported when it is first asked for."""

ENCODERS: dict[str, Encode | str] = {
    "widened": encode_widened,
    "folded": encode_folded,
    "triton": "flare.kernels.triton_route:encode_triton",
}
"""The first half alone of those routes that do not encode as `encode` does; as in `ROUTES`."""

_Function = TypeVar("_Function", Encode, Route)


def fastest_route(
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,  # noqa: ARG001
    mask_BN: Tensor | None = None,  # noqa: ARG001
) -> str:
    """Name the route measured to be the fastest for such tensors.

    On the CPU, in float32 and float64, sharing the scores takes the least time (PyTorch 2.13, two x86
    cores, ``benchmarks/flare_training.py``), but cannot be compiled.  For a few scores, or compiled,
    D = 8 in float32 takes 30 % less time widened to 16 (``benchmarks/flare_mixer.py``); D = 4, 12 and
    24, float64 and bfloat16 take more.  Elsewhere nothing has been measured to beat the plain route, and
    it is taken; folding and the kernels in Triton, made for GPUs, are to be asked for by name until they
    have been measured on one.
    """
    if k_BHND.device.type != "cpu":
        return "plain"
    shares = k_BHND.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    many = k_BHND.shape[2] * q_BHMD.shape[2] >= FEWEST_SCORES
    if shares and many and not torch.compiler.is_compiling():
        return "shared"
    return "widened" if k_BHND.dtype == torch.float32 and k_BHND.shape[-1] == 8 else "plain"


def check_route_name(name: str) -> None:
    """Raise ValueError unless `name` is ``"auto"`` or one of `ROUTES`."""
    if name != AUTO and name not in ROUTES:
        raise ValueError(f"no route named {name!r}; there are {', '.join([AUTO, *ROUTES])}")


# A plain global, and not a context variable: torch.compile guards on it, and the recomputation of
# activations, which runs in threads of the backward pass, sees it.
_forced = AUTO


@contextmanager
def forced_route(name: str) -> Iterator[None]:
    """Make every mixer of this process take one route, whatever its configuration says.

    Parameters
    ----------
    name : str
        One of `ROUTES`; ``"auto"`` forces none.

    Raises
    ------
    ValueError
        If there is no such route, or it needs a package that is not installed.

    Examples
    --------
    >>> q_BHMD, k_BHND = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 9, 4)
    >>> with forced_route("plain"):
    ...     y_BHND = route(q_BHMD, k_BHND, k_BHND)
    """
    global _forced
    check_route_name(name)
    if name != AUTO:
        # A route that cannot be imported fails here, and a compiled model has nothing to import.
        find_route(name)
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def chosen_route(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, name: str = AUTO
) -> str:
    """Name the route to take: the forced one, else the one asked for, else the fastest."""
    if _forced != AUTO:
        return _forced
    return fastest_route(q_BHMD, k_BHND, v_BHND, mask_BN) if name == AUTO else name


def find_route(name: str) -> Route:
    """Return one of `ROUTES`, imported if need be.

    Raises
    ------
    ValueError
        If it needs a package that is not installed.
    """
    return _imported(ROUTES, name)


def _imported(table: dict[str, _Function | str], name: str) -> _Function:
    function = table[name]
    if isinstance(function, str):
        module_name, function_name = function.split(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            raise ValueError(
                f"route {name!r} needs the package {package}, which is not installed here;"
                f" pip install {package}, or take another route"
            ) from error
        function = table[name] = getattr(module, function_name)
    return function


def route(
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    mask_BN: Tensor | None = None,
    scale: float = 1.0,
    name: str = AUTO,
) -> Tensor:
    """Mix the nodes of each case by the route of this name; otherwise as `Route`."""
    function = find_route(chosen_route(q_BHMD, k_BHND, v_BHND, mask_BN, name))
    return function(q_BHMD, k_BHND, v_BHND, mask_BN, scale)


def gather(
    q_BHMD: Tensor,
    k_BHND: Tensor,
    v_BHND: Tensor,
    mask_BN: Tensor | None = None,
    scale: float = 1.0,
    name: str = AUTO,
) -> Tensor:
    """Do the first half of `route` alone, as the route of this name does it: (B, H, M, D)."""
    chosen = chosen_route(q_BHMD, k_BHND, v_BHND, mask_BN, name)
    function = _imported(ENCODERS, chosen) if chosen in ENCODERS else encode
    return function(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
