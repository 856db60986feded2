r"""Spectra of the matrices that FLARE mixers apply, and their two factors as maps.

Per head, with queries q (M x D), keys k (N x D) and E = exp(scale q k^T) (M x N), a mixer applies

    W = W_dec W_enc,    W_enc = D_enc^-1 E  (M x N),    W_dec = D_dec^-1 E^T  (N x M),

where the diagonal matrices D_enc and D_dec hold the row sums of E and of E^T (the softmax
normalisers).  W is N x N of rank M at most.  Its spectrum needs no N x N matrix:

1. AB and BA have the same nonzero eigenvalues, so those of W are those of the M x M matrix
   W_enc W_dec = D_enc^-1 E D_dec^-1 E^T.
2. A similarity with D_enc^1/2 makes it symmetric:
   D_enc^1/2 (W_enc W_dec) D_enc^-1/2 = R R^T with R = D_enc^-1/2 E D_dec^-1/2 (M x N).

So the eigenvalues are real and not negative.  They do not exceed 1, because W_enc W_dec is a product of
row-stochastic matrices; 1 is one of them, with a constant eigenvector.  In

    R_mn = exp(s_mn - L_m / 2 - l_n / 2) = sqrt((W_enc)_mn (W_dec)_nm),

s are the scores and L, l their log-sum-exps over nodes and latents.  No entry exceeds 1, whatever the
scores, and R R^T is summed over slices of the nodes: O(M^2 N + M^3) time, O(M^2) memory beyond a slice.

All of this holds because encoding and decoding share queries, keys and scale, as they do in FLARE
(arXiv 2508.12594, which states the O(M^3 + M^2 N) algorithm) and in FLARE++ (arXiv 2608.11519), whose
queries depend on the case.  Transformer blocks among the latent tokens (`FLAREConfig.latent_blocks`)
come between the two factors; W is then the routing without them.

Shape suffixes: B cases, N nodes of the largest, H heads, M latent tokens, D channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from flare.batch import check_no_empty_case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

SLICE_SCORES = 2**22
"""Scores held at a time by `mixing_spectrum`: 32 MiB in float64."""


class RoutingMaps(NamedTuple):
    """Where latent tokens read and write; zero on padding.

    Parameters
    ----------
    encode : Tensor, (B, H, M, N)
        Weights of the nodes in each latent token; sum to 1 over the nodes.
    decode : Tensor, (B, H, N, M)
        Weights of the latent tokens in each node; sum to 1 over the latent tokens.
    """

    encode: Tensor
    decode: Tensor


@torch.no_grad()
def mixing_spectrum(
    queries: Tensor, keys: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Eigenvalues of the mixing matrix of each head, without forming it.

    Parameters
    ----------
    queries : Tensor, (H, M, D) or (B, H, M, D)
        Latent queries; with a case dimension where they depend on the case.
    keys : Tensor, (B, H, N, D)
        Keys of the nodes; arbitrary (NaN included) on padding.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes, of which each case has one at least; not needed if all are.
    scale : float, optional
        Factor of the scores, the same in encoding and decoding: 1 in FLARE, 1 / sqrt(D) in FLARE++.

    Returns
    -------
    Tensor, (B, H, M), float64
        In [0, 1], largest (which is 1) first.  Exact to about 1e-15: smaller ones are rounding.

    Raises
    ------
    ValueError
        If shapes do not fit, a case has no real node, or scores of real nodes are not finite.
    """
    _check_routing(queries, keys, mask_BN)
    slices = list(_node_slices(queries, keys))

    encode_lse_BHM1 = torch.full((), -torch.inf, dtype=torch.float64, device=keys.device)
    for nodes in slices:
        scores_BHMN = _scores(queries, keys[..., nodes, :], scale)
        if mask_BN is not None:
            scores_BHMN.masked_fill_(~mask_BN[:, None, None, nodes], -torch.inf)
        encode_lse_BHM1 = encode_lse_BHM1.logaddexp(scores_BHMN.logsumexp(-1, keepdim=True))

    gram_BHMM = torch.zeros((), dtype=torch.float64, device=keys.device)
    for nodes in slices:
        scores_BHMN = _scores(queries, keys[..., nodes, :], scale)
        decode_lse_BH1N = scores_BHMN.logsumexp(-2, keepdim=True)
        root_BHMN = (scores_BHMN - 0.5 * (encode_lse_BHM1 + decode_lse_BH1N)).exp_()
        if mask_BN is not None:
            root_BHMN.masked_fill_(~mask_BN[:, None, None, nodes], 0.0)
        gram_BHMM = gram_BHMM + root_BHMN @ root_BHMN.mT

    if not gram_BHMM.isfinite().all():
        raise ValueError("the scores of some nodes are not finite; look for NaN in weights and inputs")
    return torch.linalg.eigvalsh(gram_BHMM).flip(-1).clamp_(0.0, 1.0)


@torch.no_grad()
def routing_maps(
    queries: Tensor, keys: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> RoutingMaps:
    """Weights by which latent tokens read from the nodes, and nodes from the latent tokens.

    They take 2 B H M N numbers: choose heads and latent tokens of a large mesh by slicing the
    queries and keys of some heads out first.

    Parameters
    ----------
    queries, keys, mask_BN, scale
        As for `mixing_spectrum`.

    Returns
    -------
    RoutingMaps
        In the dtype of `keys`.

    Raises
    ------
    ValueError
        If shapes do not fit, or a case has no real node.
    """
    _check_routing(queries, keys, mask_BN)
    scores_BHMN = _scores(queries, keys, scale)
    decode_BHNM = scores_BHMN.softmax(-2).mT
    if mask_BN is not None:
        scores_BHMN.masked_fill_(~mask_BN[:, None, None, :], -torch.inf)
        decode_BHNM = decode_BHNM.masked_fill(~mask_BN[:, None, :, None], 0.0)
    return RoutingMaps(scores_BHMN.softmax(-1).to(keys.dtype), decode_BHNM.to(keys.dtype))


def _scores(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Scores of latent tokens and nodes, (B, H, M, N), float64."""
    return (scale * queries.double()) @ keys.double().mT


def _node_slices(queries: Tensor, keys: Tensor) -> Iterator[slice]:
    """Slices of the nodes, of at most `SLICE_SCORES` scores each unless one node has more."""
    cases, heads, nodes, _ = keys.shape
    length = max(1, SLICE_SCORES // (cases * heads * queries.shape[-2]))
    return (slice(start, start + length) for start in range(0, nodes, length))


def _check_routing(queries: Tensor, keys: Tensor, mask_BN: Tensor | None) -> None:
    cases, heads, nodes, channels = keys.shape
    expected = (heads, queries.shape[-2], channels)
    if tuple(queries.shape) not in (expected, (cases, *expected)):
        raise ValueError(
            f"queries have shape {tuple(queries.shape)}, keys {tuple(keys.shape)}; expected "
            "([cases,] heads, latent tokens, channels) and (cases, heads, nodes, channels)"
        )
    if mask_BN is not None:
        if mask_BN.shape != (cases, nodes):
            raise ValueError(f"mask has shape {tuple(mask_BN.shape)}; expected {(cases, nodes)}")
        check_no_empty_case(mask_BN)
