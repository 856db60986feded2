import torch
from torch import Tensor
from torch.testing import assert_close

from baselines.transolver import PhysicsAttention, TransolverConfig

SMALL = TransolverConfig(3, 2, channels=8, num_blocks=2, num_heads=2, num_slices=5, mlp_ratio=2)


def physics_attention(layer: PhysicsAttention, x_NC: Tensor) -> Tensor:
    """Slice by slice and node by node, for one case."""
    heads = []
    to_slices = layer.slice_in_proj(x_NC).chunk(layer.num_heads, dim=-1)
    values = layer.value_in_proj(x_NC).chunk(layer.num_heads, dim=-1)
    for head, (x_ND, v_ND) in enumerate(zip(to_slices, values, strict=True)):
        temperature = layer.temperature[head].clamp(0.1, 5.0)
        weights_NM = torch.stack([(layer.slice_proj(x) / temperature[0]).softmax(0) for x in x_ND])
        slices = [
            sum(w * v for w, v in zip(w_N, v_ND, strict=True)) / (w_N.sum() + 1e-5) for w_N in weights_NM.T
        ]
        q_MD, k_MD, v_MD = layer.qkv_proj(torch.stack(slices)).chunk(3, dim=-1)
        mixed_MD = [
            sum(a * v for a, v in zip((k_MD @ q / len(q) ** 0.5).softmax(0), v_MD, strict=True)) for q in q_MD
        ]
        heads.append(
            torch.stack([sum(w * z for w, z in zip(w_M, mixed_MD, strict=True)) for w_M in weights_NM])
        )
    return layer.out_proj(torch.cat(heads, dim=-1))


def make_attention() -> PhysicsAttention:
    torch.manual_seed(0)
    layer = PhysicsAttention(SMALL).double()
    with torch.no_grad():
        # One inside the range of temperatures and one below.
        layer.temperature.copy_(torch.tensor([[[0.7]], [[0.02]]]))
    return layer


def test_attention_agrees_with_loops_over_slices() -> None:
    layer = make_attention()
    x_BNC = torch.randn(2, 12, 8, dtype=torch.float64)
    mask_BN = torch.rand(2, 12) < 0.6
    for x_NC, y_NC in zip(x_BNC, layer(x_BNC), strict=True):
        assert_close(y_NC, physics_attention(layer, x_NC))
    for x_NC, y_NC, mask_N in zip(x_BNC, layer(x_BNC, mask_BN), mask_BN, strict=True):
        assert_close(y_NC[mask_N], physics_attention(layer, x_NC[mask_N]))


def test_gradients_agree_with_loops_over_slices() -> None:
    layer = make_attention()
    x_NC = torch.randn(9, 8, dtype=torch.float64)
    got = torch.autograd.grad(layer(x_NC[None]).square().sum(), list(layer.parameters()))
    expected = torch.autograd.grad(physics_attention(layer, x_NC).square().sum(), list(layer.parameters()))
    for g, e in zip(got, expected, strict=True):
        assert_close(g, e)


def test_slice_that_no_node_belongs_to_stays_finite() -> None:
    layer = make_attention()
    with torch.no_grad():
        layer.slice_proj.bias[0] = -1e6
    x_BNC = torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    y_BNC = layer(x_BNC)
    (gradient,) = torch.autograd.grad(y_BNC.sum(), x_BNC)
    assert y_BNC.isfinite().all()
    assert gradient.isfinite().all()
