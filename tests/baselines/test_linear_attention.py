import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from baselines.linear_attention import EPSILON, linear_attention


def attend_slowly(q_ND: Tensor, k_ND: Tensor, v_ND: Tensor) -> Tensor:
    """Quadratic in the nodes: all scores, one at a time."""

    def feature_map(x: Tensor) -> Tensor:
        return torch.where(x > 0, x + 1, x.exp())

    rows = []
    for q_D in q_ND:
        scores_N = torch.stack([feature_map(q_D) @ feature_map(k_D) for k_D in k_ND]) / len(k_ND)
        rows.append(scores_N @ v_ND / (scores_N.sum() + EPSILON))
    return torch.stack(rows)


@pytest.mark.parametrize("counts", [(9, 9), (9, 4)])
def test_agrees_with_all_scores(counts: tuple[int, int]) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 9, 4, dtype=torch.float64)
    mask_BN = torch.arange(9) < torch.tensor(counts)[:, None]
    y_BHND = linear_attention(q, k, v, mask_BN)
    for b, n in enumerate(counts):
        for h in range(3):
            expected = attend_slowly(q[b, h, :n], k[b, h, :n], v[b, h, :n])
            assert_close(y_BHND[b, h, :n], expected)
    if counts == (9, 9):
        assert_close(linear_attention(q, k, v), y_BHND)


def test_averages_the_values() -> None:
    q, k = torch.randn(2, 1, 1, 6, 3)
    assert_close(linear_attention(q, k, torch.ones(1, 1, 6, 3)), torch.ones(1, 1, 6, 3), rtol=0, atol=1e-5)


def test_very_negative_queries_give_no_nan() -> None:
    q = torch.full((1, 1, 4, 3), -1e4)
    assert linear_attention(q, torch.randn(1, 1, 4, 3), torch.randn(1, 1, 4, 3)).isfinite().all()


def test_sums_over_many_nodes_fit_float16() -> None:
    """The sum over 70 000 nodes would not."""
    q, k, v = torch.ones(3, 1, 1, 70_000, 2, dtype=torch.float16)
    assert_close(linear_attention(q, k, v), torch.ones_like(v), rtol=0.01, atol=0)
