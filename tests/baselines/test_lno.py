import torch
from torch import Tensor
from torch.testing import assert_close

from baselines.lno import LNO, LNOConfig, Projector, decode, encode


def physics_cross_attention(score_QK: Tensor, v_KC: Tensor) -> Tensor:
    """For each query, the mean of the values weighted by the exponentials of its scores."""
    rows = []
    for score_K in score_QK:
        weights = [score.exp() for score in score_K]
        rows.append(sum(w * v for w, v in zip(weights, v_KC, strict=True)) / sum(weights))
    return torch.stack(rows)  # type: ignore[arg-type]


def test_encoding_and_decoding_agree_with_loops() -> None:
    torch.manual_seed(0)
    score_BNM = torch.randn(2, 11, 4, dtype=torch.float64)
    v_BNC = torch.randn(2, 11, 3, dtype=torch.float64)
    mask_BN = torch.rand(2, 11) < 0.6
    modes, masked_modes = encode(score_BNM, v_BNC, None), encode(score_BNM, v_BNC, mask_BN)
    y_BNC = decode(score_BNM, modes)
    for b, mask_N in enumerate(mask_BN):
        assert_close(modes[b], physics_cross_attention(score_BNM[b].T, v_BNC[b]))
        assert_close(masked_modes[b], physics_cross_attention(score_BNM[b, mask_N].T, v_BNC[b, mask_N]))
        assert_close(y_BNC[b], physics_cross_attention(score_BNM[b], modes[b]))


def test_residual_mlp_agrees_with_its_formula() -> None:
    torch.manual_seed(0)
    mlp, x = Projector(3, 6, 2, num_layers=2).double(), torch.randn(5, 3, dtype=torch.float64)

    def gelu(z: Tensor) -> Tensor:
        return z * (1 + torch.erf(z / 2**0.5)) / 2

    hidden = gelu(mlp.in_layer(x))
    hidden = hidden + gelu(mlp.layers[0](hidden))
    hidden = hidden + gelu(mlp.layers[1](hidden))
    assert_close(mlp(x), mlp.out_layer(hidden))


def test_block_agrees_with_a_plain_transformer_block() -> None:
    """Pre-norm, heads of channels in order, exact GELU, hidden width twice the channels."""
    torch.manual_seed(0)
    block = LNO(LNOConfig(3, 1, channels=8, num_heads=2, num_blocks=1)).double().blocks[0]
    z_MC = torch.randn(5, 8, dtype=torch.float64)
    attention = block.self_attn
    q, k, v = (
        block.norm1(z_MC) @ w.T + b
        for w, b in zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    )
    heads = [(q[:, s] @ k[:, s].T / 2).softmax(1) @ v[:, s] for s in (slice(0, 4), slice(4, 8))]
    y_MC = z_MC + attention.out_proj(torch.cat(heads, dim=1))
    hidden = torch.nn.functional.gelu(block.linear1(block.norm2(y_MC)))
    assert hidden.shape == (5, 16)
    assert_close(block(z_MC[None])[0], y_MC + block.linear2(hidden))


def test_predicts_the_same_without_gradients() -> None:
    """PyTorch takes a fused route through transformer layers then."""
    torch.manual_seed(0)
    model = LNO(LNOConfig(3, 2, channels=16, num_heads=2, num_modes=8)).double().eval()
    x_BNC = torch.randn(2, 20, 3, dtype=torch.float64)
    with torch.no_grad():
        y_BNO = model(x_BNC)
    assert_close(y_BNO, model(x_BNC).detach())
