"""The linear transformer: a kernel in the place of softmax makes attention linear in the nodes.

Shape suffixes: B cases, N nodes, H heads, D and E channels per head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import elu

from baselines.blocks import SelfAttention
from baselines.entry import ModelEntry
from baselines.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6
"""Added to the denominator, which underflows for very negative queries (idiap/fast-transformers)."""


def linear_attention(q_BHND: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask_BN: Tensor | None = None) -> Tensor:
    """Attention with scores ``f(q) . f(k)``, where ``f(x) = elu(x) + 1``.

    Parameters
    ----------
    q_BHND, k_BHND, v_BHND : Tensor, (B, H, N, D)
        Queries, keys and values; finite on padding as well.
    mask_BN : Tensor, (B, N), bool, optional
        True on real nodes, one at least in each case.

    Returns
    -------
    Tensor, (B, H, N, D)
        Values averaged by their scores; meaningless on padding.

    References
    ----------
    Section 3.2 of arXiv 2006.16236.
    """
    q_BHND, k_BHND = elu(q_BHND) + 1, elu(k_BHND) + 1
    # Means over the nodes in the place of the paper's sums, which overflow float16; the ratio is the same.
    if mask_BN is None:
        k_BHND = k_BHND / k_BHND.shape[2]
    else:
        k_BHND = (k_BHND / mask_BN.sum(dim=1)[:, None, None, None]).masked_fill(
            ~mask_BN[:, None, :, None], 0.0
        )
    context_BHDE = k_BHND.transpose(-1, -2) @ v_BHND
    total_BHN1 = q_BHND @ k_BHND.sum(dim=2)[..., None]
    return q_BHND @ context_BHDE / (total_BHN1 + EPSILON)


class LinearAttention(SelfAttention):
    """Multi-head `linear_attention` of nodes to nodes; parameters as of `SelfAttention`."""

    attend = staticmethod(linear_attention)


class LinearTransformer(Transformer):
    """`baselines.transformer.Transformer` with linear in the place of softmax attention.

    References
    ----------
    Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
    Attention", ICML 2020, arXiv 2006.16236.
    """

    attention = LinearAttention


ENTRY = ModelEntry(
    name="linear_attention",
    config_type=TransformerConfig,
    build=LinearTransformer,
    published_parameters=None,
    citation=(
        "Katharopoulos, Vyas, Pappas, Fleuret: Transformers are RNNs: Fast Autoregressive Transformers "
        "with Linear Attention. ICML 2020. arXiv 2006.16236"
    ),
    licence="MIT, github.com/idiap/fast-transformers",
)
