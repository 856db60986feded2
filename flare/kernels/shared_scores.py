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
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from flare.kernels.derivatives import refuse_second_derivative
from flare.kernels.threads import map_shares
from flare.routing import route_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

TILE_SCORES = 2**18
"""Scores of a tile; 1 MiB in float32, the second-level cache of a core."""


def route_shared(
    q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Route with the exponentials of the scores shared between encoding and decoding.

    Takes the plain route for what is not float32 or float64 in host memory, under autocast, in a
    compiled model, and where sharing would lose digits: where all scores of some latent token are
    below those of the others by so much (71 in float32) that their exponentials vanish.

    Parameters
    ----------
    q_BHMD, k_BHND, v_BHND, mask_BN, scale
        As of `flare.routing.Route`.

    Returns
    -------
    Tensor, (B, H, N, D)
        Mixed values; meaningless on padding.  Differentiable once.
    """
    if not _can_share(q_BHMD, k_BHND, v_BHND):
        return route_plain(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    y_BHND, weight_BHM = _SharedScores.apply(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    limits = torch.finfo(weight_BHM.dtype)
    if weight_BHM.amin() < limits.tiny / limits.eps:
        return route_plain(q_BHMD, k_BHND, v_BHND, mask_BN, scale)
    mixed_BHND: Tensor = y_BHND
    return mixed_BHND


def _can_share(*tensors: Tensor) -> bool:
    fits = all(t.device.type == "cpu" and t.dtype == tensors[0].dtype for t in tensors)
    exact = tensors[0].dtype in (torch.float32, torch.float64)
    return fits and exact and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())


class _SharedScores(torch.autograd.Function):
    """Mixed values, (B, H, N, D), and the weight that each latent token has gathered, (B, H, M).

    The weight is the sum of exponentials over the nodes, in a unit in which the largest exponential
    over the latent tokens and nodes of a head is 1.
    """

    @staticmethod
    def forward(
        ctx: Any, q_BHMD: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None, scale: float
    ) -> tuple[Tensor, Tensor]:
        B, H, M, D = q_BHMD.shape
        minus_one = q_BHMD.new_full((B, H, M, 1), -1.0)
        heads = _Head(
            q_ME=torch.cat([q_BHMD * (scale / math.log(2)), minus_one], dim=-1).flatten(0, 1),
            k_EN=_nodes_along_rows(k_BHND, 0.0),
            v_EN=_nodes_along_rows(v_BHND, 1.0),
            real_N=None if mask_BN is None else mask_BN.repeat_interleave(H, dim=0),
            z_EM=q_BHMD.new_empty(B * H, D + 1, M),
            peak=q_BHMD.new_empty(B * H),
            y_DN=q_BHMD.new_empty(B * H, D, k_BHND.shape[2]),
        )

        def mix(share: slice) -> None:
            for g in range(share.start, share.stop):
                head = heads.select(g)
                head.gather()
                head.scatter()

        map_shares(mix, B * H)
        ctx.save_for_backward(*heads)
        ctx.scale = scale
        weight_BHM = heads.z_EM[:, D].unflatten(0, (B, H))
        ctx.mark_non_differentiable(weight_BHM)
        return heads.y_DN.unflatten(0, (B, H)).transpose(2, 3), weight_BHM

    @staticmethod
    def backward(ctx: Any, dy_BHND: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative('compute the model under flare.routing.forced_route("plain")')
        heads = _Head(*ctx.saved_tensors)
        dy_GDN = dy_BHND.transpose(2, 3).reshape(heads.y_DN.shape)
        dq_GDM = torch.empty_like(heads.z_EM[:, :-1])
        dk_GDN, dv_GDN = torch.empty_like(heads.y_DN), torch.empty_like(heads.y_DN)

        def differentiate(share: slice) -> None:
            for g in range(share.start, share.stop):
                dq_GDM[g] = heads.select(g).differentiate(dy_GDN[g], dk_GDN[g], dv_GDN[g])

        map_shares(differentiate, len(dy_GDN))
        cases_and_heads = dy_BHND.shape[:2]
        dq, dk, dv = (t.unflatten(0, cases_and_heads).transpose(2, 3) for t in (dq_GDM, dk_GDN, dv_GDN))
        return dq * ctx.scale, dk, dv, None, None


def _nodes_along_rows(x_BHND: Tensor, last: float) -> Tensor:
    """Copy to (G, D + 1, N), with a constant in the last row."""
    B, H, N, D = x_BHND.shape
    x_BHEN = x_BHND.new_full((B, H, D + 1, N), last)
    x_BHEN[:, :, :D] = x_BHND.transpose(2, 3)
    return x_BHEN.flatten(0, 1)


class _Head(NamedTuple):
    """What there is of one head of one case; with one more axis in front, of all of them.

    Parameters
    ----------
    q_ME : Tensor
        Latent queries, times scale and the binary logarithm of e; -1 in the last column.
    k_EN : Tensor
        Keys; in the last row l in base 2, which `q_ME` thus subtracts from the scores.
    v_EN : Tensor
        Values; 1 in the last row.
    real_N : Tensor or None
        The mask.
    z_EM : Tensor
        Sums over the nodes of exponentials times values; of exponentials alone in the last row.
    peak : Tensor
        Largest score over latent tokens and real nodes; exponentials are relative to its own.
    y_DN : Tensor
        Mixed values.
    """

    q_ME: Tensor  # noqa: N815
    k_EN: Tensor  # noqa: N815
    v_EN: Tensor  # noqa: N815
    real_N: Tensor | None  # noqa: N815
    z_EM: Tensor  # noqa: N815
    peak: Tensor
    y_DN: Tensor  # noqa: N815

    def select(self, index: int) -> _Head:
        """One of all heads."""
        return _Head(*(None if t is None else t[index] for t in self))  # type: ignore[arg-type]

    def gather(self) -> None:
        """Encode: write `z_EM`, `peak` and the last row of `k_EN`."""
        self.z_EM.zero_()
        self.peak.fill_(-math.inf)
        for tile in self._tiles():
            scores_MT = self.q_ME[:, :-1] @ self.k_EN[:-1, tile]
            largest_T = scores_MT.amax(dim=0)
            exponentials_MT = scores_MT.sub_(largest_T).exp2_()
            self.k_EN[-1, tile] = largest_T + exponentials_MT.sum(dim=0).log2_()
            if self.real_N is not None:
                if not self.real_N[tile].any():
                    continue
                largest_T.masked_fill_(~self.real_N[tile], -math.inf)
            before = self.peak.clone()
            torch.maximum(before, largest_T.amax(), out=self.peak)
            weighted_ET = self.v_EN[:, tile] * (largest_T - self.peak).exp2_()
            self.z_EM.mul_((before - self.peak).exp2_()).addmm_(weighted_ET, exponentials_MT.T)

    def scatter(self) -> None:
        """Decode: write `y_DN`."""
        z_DM = self.z_EM[:-1] / self.z_EM[-1]
        for tile in self._tiles():
            self.y_DN[:, tile] = z_DM @ self._decode_weights(tile)

    def differentiate(self, dy_DN: Tensor, dk_DN: Tensor, dv_DN: Tensor) -> Tensor:
        """Write gradients of keys and values; return that of the queries times scale, (D, M).

        Both attentions have ``dS = weights * (dweights - sum(weights * dweights))``.  Over the decode
        weights, the sum of the two is bilinear in numbers of the latent token and of the node, so
        one product makes it.
        """
        z_DM = self.z_EM[:-1] / self.z_EM[-1]
        u_DM = self._latent_gradient(dy_DN) / self.z_EM[-1]
        minus_one = -torch.ones_like(self.z_EM[-1:])
        latent_KM = torch.cat([z_DM, minus_one, u_DM, -(u_DM * z_DM).sum(dim=0, keepdim=True)])
        latent_MK = latent_KM.T.contiguous()
        q_DM = (self.q_ME[:, :-1] * math.log(2)).T.contiguous()
        dq_DM = torch.zeros_like(q_DM)
        for tile in self._tiles():
            decode_MT, encode_T, dy_DT = self._decode_weights(tile), self._encode_factor(tile), dy_DN[:, tile]
            dy_y_T = (dy_DT * self.y_DN[:, tile]).sum(dim=0, keepdim=True)
            node_KT = torch.cat([dy_DT, dy_y_T, self.v_EN[:, tile] * encode_T])
            dscores_MT = (latent_MK @ node_KT).mul_(decode_MT)
            dq_DM.addmm_(self.k_EN[:-1, tile], dscores_MT.T)
            dk_DN[:, tile] = q_DM @ dscores_MT
            dv_DN[:, tile] = (u_DM @ decode_MT).mul_(encode_T)
        return dq_DM

    def _latent_gradient(self, dy_DN: Tensor) -> Tensor:
        dz_DM = torch.zeros_like(self.z_EM[:-1])
        for tile in self._tiles():
            dz_DM.addmm_(dy_DN[:, tile], self._decode_weights(tile).T)
        return dz_DM

    def _decode_weights(self, tile: slice) -> Tensor:
        """Softmax of the scores over the latent tokens, (M, T)."""
        return (self.q_ME @ self.k_EN[:, tile]).exp2_()

    def _encode_factor(self, tile: slice) -> Tensor:
        """Exponentials over decode weights, (T); zero on padding."""
        factor_T = (self.k_EN[-1, tile] - self.peak).exp2_()
        return factor_T if self.real_N is None else factor_T.masked_fill_(~self.real_N[tile], 0.0)

    def _tiles(self) -> Iterator[slice]:
        nodes, step = self.k_EN.shape[1], max(1, TILE_SCORES // len(self.q_ME))
        return (slice(start, min(start + step, nodes)) for start in range(0, nodes, step))
