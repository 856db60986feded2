"""The two attention calls of FLARE from one score matrix, on the CPU.

Encoding and decoding attend with the same scores, over the nodes and over the latent tokens:

    S = scale q k^T,   decode = exp(S - l_n),   encode = exp(S - L_m) = decode exp(l_n - L_m)

with l and L the logarithms of the sums of exp(S) over latent tokens and over nodes.  One product and
one exponential serve both, and so does one gradient of the scores.  The nodes pass in tiles that
stay in the cache; for the backward pass no score is kept, only l and L.

Each matrix has the nodes along its rows, because BLAS is several times slower at products with D
columns than with D rows.  Scores are in base 2, because `torch.exp2` takes a third of the time of
`torch.exp` (PyTorch 2.13, x86 with AVX-512, float32).

Shape suffixes: B cases, H heads, G = B H, M latent tokens, N nodes, T nodes of a tile, D channels per
head, E = D + 1 with a row or column for sums, K = 2 E.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from flare.kernels.threads import map_shares
from flare.routing import route_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TILE_SCORES = 2**18
"""Scores of a tile; 1 MiB in float32, the second-level cache of a core."""


def route_shared(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Route with the exponentials of the scores shared between encoding and decoding.

    Takes the plain route where sharing would lose digits: where the scores of some latent token are
    all below those of others by so much (69 in float32) that their exponentials vanish.

    Parameters
    ----------
    q_BHMD, k_BHND, v_BHND, mask_BN, scale
        As of `flare.routing.Route`; float32 or float64, in host memory.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.  Differentiable once.
    """
    y_BHND, weight_BHM = SharedScores.apply(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    limits = torch.finfo(weight_BHM.dtype)
    if weight_BHM.amin() < limits.tiny / limits.eps:
        return route_plain(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    mixed_BHND: Tensor = y_BHND
    return mixed_BHND


class SharedScores(torch.autograd.Function):
    """Mixed values, and the weight that each latent token has gathered.

    ``SharedScores.apply(q_BHMD, k_BHND, v_BHND, mask_BN, scale)`` returns the values, (B, H, N, D),
    and the sum of exponentials of each latent token, (B, H, M), where the largest exponential over
    the latent tokens and nodes of a head is 1.
    """

    @staticmethod
    def forward(
        ctx: Any, q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Mix each group."""
        B, H, M, D = q_BHMD.shape
        # The last column of q meets the last row of k to subtract l from the scores.
        minus_one = q_BHMD.new_full((B, H, M, 1), -1.0)
        q_GME = torch.cat([q_BHMD * (scale / math.log(2)), minus_one], dim=-1).flatten(0, 1)
        k_GEN, v_GEN = _nodes_along_rows(k_BHND, 0.0), _nodes_along_rows(v_BHND, 1.0)
        real_GN = None if mask_BN is None else mask_BN.repeat_interleave(H, dim=0)
        y_GDN = k_GEN.new_empty(B * H, D, k_GEN.shape[2])
        z_GEM, peak_G = q_GME.new_empty(B * H, D + 1, M), q_GME.new_empty(B * H)

        def mix(groups: slice) -> None:
            for g in range(groups.start, groups.stop):
                real_N = None if real_GN is None else real_GN[g]
                z_GEM[g], peak_G[g] = _gather(q_GME[g], k_GEN[g], v_GEN[g], real_N)
                _scatter(q_GME[g], k_GEN[g], z_GEM[g], y_GDN[g])

        map_shares(mix, B * H)
        ctx.save_for_backward(q_GME, k_GEN, v_GEN, real_GN, y_GDN, z_GEM, peak_G)
        ctx.scale = scale
        weight_BHM = z_GEM[:, D].unflatten(0, (B, H))
        ctx.mark_non_differentiable(weight_BHM)
        return y_GDN.unflatten(0, (B, H)).transpose(2, 3), weight_BHM

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_BHND: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Differentiate each group, with the scores computed anew."""
        q_GME, k_GEN, v_GEN, real_GN, y_GDN, z_GEM, peak_G = ctx.saved_tensors
        dy_GDN = dy_BHND.transpose(2, 3).reshape(y_GDN.shape)
        dq_GDM = q_GME.new_empty(z_GEM[:, :-1].shape)
        dk_GDN, dv_GDN = torch.empty_like(y_GDN), torch.empty_like(y_GDN)

        def differentiate(groups: slice) -> None:
            for g in range(groups.start, groups.stop):
                weight_N = _encode_weight(k_GEN[g, -1], peak_G[g], None if real_GN is None else real_GN[g])
                dz_DM = _scatter_gradient(q_GME[g], k_GEN[g], dy_GDN[g])
                dq_GDM[g] = _score_gradients(
                    q_GME[g], k_GEN[g], v_GEN[g], weight_N, y_GDN[g], z_GEM[g],
                    dy_GDN[g], dz_DM, dk_GDN[g], dv_GDN[g],
                )  # fmt: skip

        map_shares(differentiate, len(q_GME))
        shape_BH = dy_BHND.shape[:2]
        dq, dk, dv = (t.unflatten(0, shape_BH).transpose(2, 3) for t in (dq_GDM, dk_GDN, dv_GDN))
        return dq * ctx.scale, dk, dv, None, None


def _nodes_along_rows(x_BHND: Tensor, last: float) -> Tensor:
    """Copy to (G, D + 1, N), with a constant in the last row."""
    B, H, N, D = x_BHND.shape
    x_BHEN = x_BHND.new_full((B, H, D + 1, N), last)
    x_BHEN[:, :, :D] = x_BHND.transpose(2, 3)
    return x_BHEN.flatten(0, 1)


def _tiles(k_EN: Tensor, latents: int) -> Iterator[slice]:
    nodes, step = k_EN.shape[1], max(1, TILE_SCORES // latents)
    return (slice(start, min(start + step, nodes)) for start in range(0, nodes, step))


def _gather(q_ME: Tensor, k_EN: Tensor, v_EN: Tensor, real_N: Tensor | None) -> tuple[Tensor, Tensor]:
    """Encode; returns the sums of weighted values and, in the last row, weights, (E, M), and their peak.

    The weights are relative to 2 to the power of the peak.  Writes l into the last row of `k_EN`.
    """
    z_EM = q_ME.new_zeros(q_ME.shape[::-1])
    peak = q_ME.new_tensor(-math.inf)
    for tile in _tiles(k_EN, len(q_ME)):
        scores_MT = q_ME[:, :-1] @ k_EN[:-1, tile]
        largest_T = scores_MT.amax(dim=0)
        exponentials_MT = scores_MT.sub_(largest_T).exp2_()
        k_EN[-1, tile] = largest_T + exponentials_MT.sum(dim=0).log2_()
        if real_N is not None:
            largest_T = largest_T.masked_fill_(~real_N[tile], -math.inf)
            if not real_N[tile].any():
                continue
        before, peak = peak, torch.maximum(peak, largest_T.amax())
        weighted_ET = v_EN[:, tile] * (largest_T - peak).exp2_()
        z_EM.mul_((before - peak).exp2_()).addmm_(weighted_ET, exponentials_MT.T)
    return z_EM, peak


def _decode_weights(q_ME: Tensor, k_ET: Tensor) -> Tensor:
    """Softmax of the scores over the latent tokens, (M, T), given l in the last row of `k_ET`."""
    return (q_ME @ k_ET).exp2_()


def _scatter(q_ME: Tensor, k_EN: Tensor, z_EM: Tensor, y_DN: Tensor) -> None:
    """Decode into `y_DN`."""
    z_DM = z_EM[:-1] / z_EM[-1]
    for tile in _tiles(k_EN, len(q_ME)):
        y_DN[:, tile] = z_DM @ _decode_weights(q_ME, k_EN[:, tile])


def _encode_weight(l_N: Tensor, peak: Tensor, real_N: Tensor | None) -> Tensor:
    """Exponentials over decode weights, (N), in the unit of `_gather`; zero on padding."""
    weight_N = (l_N - peak).exp2_()
    return weight_N if real_N is None else weight_N.masked_fill_(~real_N, 0.0)


def _scatter_gradient(q_ME: Tensor, k_EN: Tensor, dy_DN: Tensor) -> Tensor:
    """Gradient of the latent tokens, (D, M)."""
    dz_DM = dy_DN.new_zeros(len(dy_DN), len(q_ME))
    for tile in _tiles(k_EN, len(q_ME)):
        dz_DM.addmm_(dy_DN[:, tile], _decode_weights(q_ME, k_EN[:, tile]).T)
    return dz_DM


def _score_gradients(
    q_ME: Tensor,
    k_EN: Tensor,
    v_EN: Tensor,
    weight_N: Tensor,
    y_DN: Tensor,
    z_EM: Tensor,
    dy_DN: Tensor,
    dz_DM: Tensor,
    dk_DN: Tensor,
    dv_DN: Tensor,
) -> Tensor:
    """Gradients of keys and values into `dk_DN` and `dv_DN`; returns that of the scaled queries, (D, M).

    Both attentions have ``dS = weights * (dweights - sum(weights * dweights))``.  Their sum over decode
    weights is bilinear in quantities of the latent token and of the node, so one product gives it.
    """
    z_DM = z_EM[:-1] / z_EM[-1]
    u_DM = dz_DM / z_EM[-1]
    latent_KM = torch.cat([z_DM, -torch.ones_like(z_EM[-1:]), u_DM, -(u_DM * z_DM).sum(0, keepdim=True)])
    latent_MK = latent_KM.T.contiguous()
    q_DM = (q_ME[:, :-1] * math.log(2)).T.contiguous()
    dq_DM = torch.zeros_like(q_DM)
    for tile in _tiles(k_EN, len(q_ME)):
        decode_MT = _decode_weights(q_ME, k_EN[:, tile])
        dy_DT, weight_T = dy_DN[:, tile], weight_N[tile]
        node_KT = torch.cat([dy_DT, (dy_DT * y_DN[:, tile]).sum(0, keepdim=True), v_EN[:, tile] * weight_T])
        dscores_MT = (latent_MK @ node_KT).mul_(decode_MT)
        dq_DM.addmm_(k_EN[:-1, tile], dscores_MT.T)
        dk_DN[:, tile] = q_DM @ dscores_MT
        dv_DN[:, tile] = (u_DM @ decode_MT).mul_(weight_T)
    return dq_DM
