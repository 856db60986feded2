import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from baselines.transolver_plus_plus import (
    EideticAttention,
    TransolverPlusPlus,
    TransolverPlusPlusConfig,
    gumbel_noise_like,
)

SMALL = TransolverPlusPlusConfig(3, 2, channels=8, num_blocks=2, num_heads=2, num_slices=5)


def test_default_has_the_published_number_of_parameters_but_for_an_unused_embedding() -> None:
    model = TransolverPlusPlus(TransolverPlusPlusConfig(in_channels=3, out_channels=1))
    embedding_of_flight_conditions = nn.Linear(3, 128)
    parameters = [*model.parameters(), *embedding_of_flight_conditions.parameters()]
    assert sum(p.numel() for p in parameters) == 591_561


def eidetic_attention(layer: EideticAttention, x_NC: Tensor) -> Tensor:
    """Algorithm 1 of the paper without noise, slice by slice, for the nodes of one case."""
    heads = []
    for head, x_ND in enumerate(layer.in_proj(x_NC).chunk(layer.num_heads, dim=-1)):
        weights = []
        for x_D in x_ND:
            temperature = (layer.temperature_proj(x_D) + layer.temperature[head, 0]).clamp(min=0.01)
            weights.append((layer.slice_proj(x_D) / temperature).softmax(0))
        slices = [
            sum(w * x for w, x in zip(w_N, x_ND, strict=True)) / (sum(w_N) + 1e-5)
            for w_N in zip(*weights, strict=True)
        ]
        q_MD, k_MD, v_MD = layer.qkv_proj(torch.stack(slices)).chunk(3, dim=-1)
        mixed_MD = (q_MD @ k_MD.T / q_MD.shape[1] ** 0.5).softmax(1) @ v_MD
        heads.append(torch.stack([sum(w * z for w, z in zip(w_M, mixed_MD, strict=True)) for w_M in weights]))
    return layer.out_proj(torch.cat(heads, dim=-1))


def test_attention_agrees_with_loops_over_slices() -> None:
    torch.manual_seed(0)
    layer = EideticAttention(SMALL).double().eval()
    with torch.no_grad():
        # Below zero on some nodes, where the lower bound holds.
        layer.temperature.copy_(torch.tensor([[[0.3]], [[-0.2]]]))
    x_BNC = torch.randn(2, 12, 8, dtype=torch.float64)
    mask_BN = torch.rand(2, 12) < 0.6
    for x_NC, y_NC in zip(x_BNC, layer(x_BNC), strict=True):
        assert_close(y_NC, eidetic_attention(layer, x_NC))
    for x_NC, y_NC, mask_N in zip(x_BNC, layer(x_BNC, mask_BN), mask_BN, strict=True):
        assert_close(y_NC[mask_N], eidetic_attention(layer, x_NC[mask_N]))


def test_noise_is_drawn_in_training_only() -> None:
    torch.manual_seed(0)
    model = TransolverPlusPlus(SMALL)
    x_BNC = torch.rand(1, 30, 3)
    assert not torch.equal(model(x_BNC), model(x_BNC))
    model.eval()
    assert torch.equal(model(x_BNC), model(x_BNC))
    silent = TransolverPlusPlus(TransolverPlusPlusConfig(3, 2, 8, 2, 2, 5, gumbel_noise=False))
    silent.load_state_dict(model.state_dict())
    assert torch.equal(silent(x_BNC), model(x_BNC))


def test_noise_keeps_to_the_seed() -> None:
    model, x_BNC = TransolverPlusPlus(SMALL), torch.rand(1, 30, 3)
    torch.manual_seed(7)
    first = model(x_BNC)
    torch.manual_seed(7)
    assert torch.equal(model(x_BNC), first)


def test_padding_reaches_nothing_while_noise_is_drawn() -> None:
    """The same noise on the same padded batch, whatever the padding holds."""
    model = TransolverPlusPlus(SMALL)
    mask_BN = torch.arange(9) < torch.tensor([[9], [4]])
    clean = torch.rand(2, 9, 3).masked_fill(~mask_BN[..., None], 0.0)
    outcomes = []
    for x_BNC in (clean, clean.masked_fill(~mask_BN[..., None], float("nan"))):
        torch.manual_seed(3)
        y_BNO = model(x_BNC, mask_BN)
        outcomes.append([y_BNO, *torch.autograd.grad(y_BNO.square().sum(), list(model.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_noise_follows_the_gumbel_distribution(dtype: torch.dtype) -> None:
    """Mean, Euler's constant; variance, pi squared over six."""
    torch.manual_seed(0)
    noise = gumbel_noise_like(torch.empty(200_000, dtype=dtype))
    assert noise.dtype == torch.promote_types(dtype, torch.float32)
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.015)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, rel=0.03)


def test_bfloat16_with_noise_stays_finite() -> None:
    torch.manual_seed(0)
    model = TransolverPlusPlus(TransolverPlusPlusConfig(3, 1, num_blocks=2))
    with torch.autocast("cpu", torch.bfloat16):
        y_BNO = model(torch.rand(1, 500, 3))
    gradients = torch.autograd.grad(y_BNO.float().square().sum(), list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
