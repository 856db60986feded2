import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from baselines.blocks import (
    Block,
    CrossAttention,
    ResidualMLP,
    SelfAttention,
    attend,
    join_heads,
    split_heads,
)
from baselines.checks import check_heads


def attend_slowly(q_MD: Tensor, k_ND: Tensor, v_ND: Tensor, mask_N: Tensor) -> Tensor:
    """One query and one key at a time."""
    rows = []
    for q_D in q_MD:
        scores = [(q_D @ k_D) / len(q_D) ** 0.5 for k_D, real in zip(k_ND, mask_N, strict=True) if real]
        weights = torch.stack([score.exp() for score in scores])
        rows.append((weights / weights.sum()) @ v_ND[mask_N])
    return torch.stack(rows)


def make_noisy(module: nn.Module) -> nn.Module:
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return module


def test_attend_agrees_with_loops() -> None:
    torch.manual_seed(0)
    q_BHMD = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    k_BHND, v_BHND = torch.randn(2, 2, 3, 7, 5, dtype=torch.float64)
    mask_BN = torch.arange(7) < torch.tensor([[7], [3]])
    y_BHMD = attend(q_BHMD, k_BHND, v_BHND, mask_BN)
    for b in range(2):
        for h in range(3):
            expected = attend_slowly(q_BHMD[b, h], k_BHND[b, h], v_BHND[b, h], mask_BN[b])
            assert_close(y_BHMD[b, h], expected)


def test_heads_split_and_join() -> None:
    x_BNC = torch.arange(24.0).view(1, 4, 6)
    heads = split_heads(x_BNC, 3)
    assert heads.shape == (1, 3, 4, 2)
    assert torch.equal(heads[0, 1], x_BNC[0, :, 2:4])
    assert torch.equal(join_heads(heads), x_BNC)


def test_self_attention_agrees_with_loops() -> None:
    torch.manual_seed(0)
    attention = make_noisy(SelfAttention(6, 2))
    x_BNC = torch.randn(1, 5, 6, dtype=torch.float64)
    mask_BN = torch.tensor([[True, True, False, True, True]])
    q, k, v = (x_BNC[0] @ weight.T for weight in attention.qkv_proj.weight.split(6))
    heads = [attend_slowly(q[:, c : c + 3], k[:, c : c + 3], v[:, c : c + 3], mask_BN[0]) for c in (0, 3)]
    assert_close(attention(x_BNC, mask_BN)[0], attention.out_proj(torch.cat(heads, dim=1)))


def test_cross_attention_agrees_with_loops() -> None:
    torch.manual_seed(0)
    attention = make_noisy(CrossAttention(6, 3))
    query_BMC, x_BNC = torch.randn(1, 4, 6, dtype=torch.float64), torch.randn(1, 5, 6, dtype=torch.float64)
    mask_BN = torch.tensor([[True, False, True, True, True]])
    q, k, v = attention.q_proj(query_BMC)[0], attention.k_proj(x_BNC)[0], attention.v_proj(x_BNC)[0]
    heads = [attend_slowly(q[:, c : c + 2], k[:, c : c + 2], v[:, c : c + 2], mask_BN[0]) for c in (0, 2, 4)]
    assert_close(attention(query_BMC, x_BNC, mask_BN)[0], attention.out_proj(torch.cat(heads, dim=1)))


def test_skips_where_the_width_stays() -> None:
    """With zero weights nothing but the skips is left."""
    x_BNC = torch.randn(2, 3, 4)
    for widths, passes in (((4, 4, 4), True), ((4, 8, 4), False), ((4, 4, 2), False)):
        mlp = ResidualMLP(*widths)
        for parameter in mlp.parameters():
            nn.init.zeros_(parameter)
        y_BNC = mlp(x_BNC)
        assert torch.equal(y_BNC, x_BNC) if passes else not y_BNC.any()


def test_block_adds_to_its_input() -> None:
    block = Block(4, SelfAttention(4, 2), mlp_ratio=2)
    for layer in (block.mixer.out_proj, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
    x_BNC = torch.randn(2, 3, 4)
    assert torch.equal(block(x_BNC, None), x_BNC)


def test_heads_share_channels() -> None:
    check_heads(12, 3)
    with pytest.raises(ValueError, match="channels must be a multiple of num_heads, but 12 is none of 5"):
        check_heads(12, 5)
