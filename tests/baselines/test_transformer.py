import torch
from torch.nn.functional import gelu, layer_norm
from torch.testing import assert_close

from baselines.transformer import Transformer, TransformerConfig


def test_agrees_with_the_equations() -> None:
    """One block of one head, written out."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(3, 2, channels=4, num_blocks=1, num_heads=1, mlp_ratio=2)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    (block,) = model.blocks
    x_NC = torch.randn(7, 3, dtype=torch.float64)
    h = model.in_proj(x_NC)
    normed = layer_norm(h, (4,), block.norm1.weight, block.norm1.bias)
    q, k, v = block.mixer.qkv_proj(normed).chunk(3, dim=1)
    h = h + block.mixer.out_proj((q @ k.T / 2).softmax(dim=1) @ v)
    normed = layer_norm(h, (4,), block.norm2.weight, block.norm2.bias)
    h = h + block.mlp.fc2(gelu(block.mlp.fc1(normed), approximate="tanh"))
    assert_close(model(x_NC[None])[0], model.out_proj(h))
