import torch
from torch import Tensor
from torch.testing import assert_close

from baselines.set_transformer import AttentionBlock, SetTransformer, SetTransformerConfig


def attention_block_slowly(block: AttentionBlock, query_QC: Tensor, x_NC: Tensor) -> Tensor:
    """MAB of the paper with explicit matrices of scores."""
    attention = block.attention
    q, k, v = attention.q_proj(query_QC), attention.k_proj(x_NC), attention.v_proj(x_NC)
    heads = [(q[:, c : c + 4] @ k[:, c : c + 4].T / 2).softmax(dim=1) @ v[:, c : c + 4] for c in (0, 4)]
    h_QC = block.norm1(query_QC + attention.out_proj(torch.cat(heads, dim=1)))
    return block.norm2(h_QC + block.row_wise(h_QC).relu())


def test_agrees_with_the_equations() -> None:
    torch.manual_seed(0)
    config = SetTransformerConfig(3, 2, channels=8, num_blocks=2, num_heads=2, num_inducing=4)
    model = SetTransformer(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x_NC = torch.randn(7, 3, dtype=torch.float64)
    h_NC = model.in_proj(x_NC)
    for block in model.blocks:
        induced_MC = attention_block_slowly(block.gather, block.inducing_points, h_NC)
        h_NC = attention_block_slowly(block.scatter, h_NC, induced_MC)
    assert_close(model(x_NC[None])[0], model.out_proj(h_NC))
