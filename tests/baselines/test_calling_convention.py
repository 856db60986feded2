"""What `baselines.convention.FieldModel` promises, held to by FLARE and by every baseline on nodes."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from baselines.deep_sets import DeepSetsConfig
from baselines.gnot import GNOTConfig
from baselines.linformer import LinformerConfig
from baselines.lno import LNOConfig
from baselines.perceiver_io import PerceiverIOConfig
from baselines.pointnet import PointNetConfig
from baselines.registry import BASELINES
from baselines.set_transformer import SetTransformerConfig
from baselines.transformer import TransformerConfig
from baselines.transolver import TransolverConfig
from baselines.transolver_plus_plus import TransolverPlusPlusConfig
from baselines.upt import UPTConfig
from flare import FLARE, MIXERS, FLAREConfig
from flare.config import MixerName

IN_CHANNELS, OUT_CHANNELS = 3, 2
SMALL_CONFIGS = {
    "deep_sets": DeepSetsConfig(IN_CHANNELS, OUT_CHANNELS, channels=64),
    "gnot": GNOTConfig(IN_CHANNELS, OUT_CHANNELS, 16, num_blocks=2, num_heads=2),
    "linear_attention": TransformerConfig(IN_CHANNELS, OUT_CHANNELS, 16, num_blocks=2, num_heads=2),
    "linformer": LinformerConfig(
        IN_CHANNELS, OUT_CHANNELS, 16, num_blocks=2, num_heads=2, sequence_length=8, num_projected=4
    ),
    "lno": LNOConfig(IN_CHANNELS, OUT_CHANNELS, 32, num_blocks=1, num_heads=2, num_modes=32, num_layers=3),
    "perceiver_io": PerceiverIOConfig(
        IN_CHANNELS, OUT_CHANNELS, num_blocks=1, num_heads=16, num_latents=16, mlp_ratio=2
    ),
    "pointnet": PointNetConfig(IN_CHANNELS, OUT_CHANNELS, (64, 64), (64, 128), (128, 64)),
    "set_transformer": SetTransformerConfig(IN_CHANNELS, OUT_CHANNELS, channels=64, num_inducing=4),
    "transformer": TransformerConfig(IN_CHANNELS, OUT_CHANNELS, 16, num_blocks=2, num_heads=2),
    "transolver": TransolverConfig(IN_CHANNELS, OUT_CHANNELS, 16, num_blocks=2, num_heads=2, num_slices=6),
    # Noise is drawn anew in each pass, so passes with it cannot be compared.
    "transolver++": TransolverPlusPlusConfig(
        IN_CHANNELS, OUT_CHANNELS, 16, num_blocks=2, num_heads=2, num_slices=6, gumbel_noise=False
    ),
    "upt": UPTConfig(
        IN_CHANNELS,
        OUT_CHANNELS,
        32,
        num_blocks=1,
        num_heads=2,
        num_supernodes=6,
        num_latents=4,
        radius=1.5,
        max_neighbors=4,
    ),
}
# Neither has a skip connection around its decoder; Perceiver IO ends at a constant if it learns faster.
PEAK_LEARNING_RATES = {"lno": 5e-3, "perceiver_io": 7e-4}
# Slices, as modes, start out all alike.
STEPS = {"lno": 1500, "transolver": 1000, "transolver++": 1000}
Build = Callable[[], nn.Module]


def build_flare(mixer: MixerName) -> nn.Module:
    return FLARE(
        FLAREConfig(
            IN_CHANNELS, OUT_CHANNELS, channels=16, num_blocks=2, num_heads=2, num_latents=6, mixer=mixer
        )
    )


BUILDERS: dict[str, Build] = {
    **{name: partial(build_flare, name) for name in MIXERS},  # type: ignore[arg-type]
    **{
        name: lambda e=entry: e.build(SMALL_CONFIGS[e.name])
        for name, entry in BASELINES.items()
        if entry.takes == "nodes"
    },
}


@pytest.fixture(params=BUILDERS.values(), ids=BUILDERS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return make_model(request.param)


def make_model(build: Build) -> nn.Module:
    """Build a model in float64 whose weights are large enough for every part to matter."""
    torch.manual_seed(0)
    model = build().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


def random_cases(*node_counts: int) -> list[Tensor]:
    return [torch.randn(n, IN_CHANNELS, dtype=torch.float64) for n in node_counts]


def pad(cases: list[Tensor], places: list[Tensor], nodes: int, filling: float) -> tuple[Tensor, Tensor]:
    """Put each case on its places of a (B, nodes, C) batch; what remains holds `filling`."""
    x_BNC = torch.full((len(cases), nodes, IN_CHANNELS), filling, dtype=torch.float64)
    mask_BN = torch.zeros(len(cases), nodes, dtype=torch.bool)
    for b, (case, place) in enumerate(zip(cases, places, strict=True)):
        x_BNC[b, place] = case
        mask_BN[b, place] = True
    return x_BNC, mask_BN


def parameter_gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("name", BUILDERS)
@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=4), extra=st.integers(0, 5))
def test_padded_case_gets_what_it_gets_alone(name: str, counts: list[int], extra: int) -> None:
    model = make_model(BUILDERS[name])
    nodes = max(counts) + extra
    cases, places = random_cases(*counts), [torch.randperm(nodes)[:n] for n in counts]
    y_BNO = model(*pad(cases, places, nodes, filling=float("nan")))
    alone = [model(case[None])[0] for case in cases]

    for padded, place, expected in zip(y_BNO, places, alone, strict=True):
        assert_close(padded[place], expected, rtol=1e-10, atol=1e-10)
    assert y_BNO.abs().sum(dim=-1).count_nonzero() <= sum(counts)
    got = parameter_gradients(model, y_BNO.square().sum())
    expected_gradients = parameter_gradients(model, sum(y.square().sum() for y in alone))  # type: ignore[arg-type]
    for g, e in zip(got, expected_gradients, strict=True):
        assert_close(g, e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("filling", [float("nan"), float("inf"), -1e300, 1.0])
def test_padding_reaches_neither_outputs_nor_gradients(model: nn.Module, filling: float) -> None:
    cases, places = random_cases(7, 4), [torch.arange(7), torch.arange(2, 6)]

    def run(value: float) -> tuple[Tensor, Tensor, list[Tensor]]:
        x_BNC, mask_BN = pad(cases, places, 9, value)
        x_BNC.requires_grad_()
        y_BNO = model(x_BNC, mask_BN)
        assert (y_BNO[~mask_BN] == 0).all()
        # A loss that looks at padded outputs as well.
        gradient_x, *gradients = torch.autograd.grad((y_BNO - 1).square().sum(), [x_BNC, *model.parameters()])
        assert (gradient_x[~mask_BN] == 0).all()
        return y_BNO, gradient_x, gradients

    y, gradient_x, gradients = run(filling)
    clean_y, clean_gradient_x, clean_gradients = run(0.0)
    assert torch.equal(y, clean_y)
    assert torch.equal(gradient_x, clean_gradient_x)
    assert all(torch.equal(g, c) for g, c in zip(gradients, clean_gradients, strict=True))


@pytest.mark.parametrize("masked", [False, True])
def test_batch_mates_are_strangers(model: nn.Module, masked: bool) -> None:
    x_BNC = torch.randn(3, 8, IN_CHANNELS, dtype=torch.float64, requires_grad=True)
    mask_BN = torch.arange(8) < torch.tensor([[8], [5], [3]]) if masked else None
    (gradient,) = torch.autograd.grad(model(x_BNC, mask_BN)[1].square().sum(), x_BNC)
    assert (gradient[[0, 2]] == 0).all()
    assert (gradient[1] != 0).any()


def test_equivariant_to_the_order_of_nodes(model: nn.Module) -> None:
    x_BNC = torch.randn(2, 11, IN_CHANNELS, dtype=torch.float64)
    mask_BN = torch.arange(11) < torch.tensor([[11], [6]])
    order = torch.randperm(11)
    assert_close(model(x_BNC[:, order]), model(x_BNC)[:, order], rtol=1e-10, atol=1e-10)
    assert_close(
        model(x_BNC[:, order], mask_BN[:, order]), model(x_BNC, mask_BN)[:, order], rtol=1e-10, atol=1e-10
    )


def test_every_parameter_learns(model: nn.Module) -> None:
    y_BNO = model(torch.randn(2, 20, IN_CHANNELS, dtype=torch.float64))
    for (name, _), gradient in zip(
        model.named_parameters(), parameter_gradients(model, y_BNO.square().sum()), strict=True
    ):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_reads_no_value_back(model: nn.Module) -> None:
    """Tensors without data pass, so an accelerator is never waited for."""
    x_BNC = torch.empty(2, 10, IN_CHANNELS, dtype=torch.float64, device="meta")
    y_BNO = model.to("meta")(x_BNC, torch.empty(2, 10, dtype=torch.bool, device="meta"))
    y_BNO.sum().backward()
    assert y_BNO.shape == (2, 10, OUT_CHANNELS)


def test_keeps_the_dtype(model: nn.Module) -> None:
    assert model(torch.randn(1, 4, IN_CHANNELS, dtype=torch.float64)).dtype == torch.float64
    assert model.float()(torch.randn(1, 4, IN_CHANNELS)).dtype == torch.float32


X = torch.zeros(2, 5, IN_CHANNELS, dtype=torch.float64)
FULL = torch.ones(2, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("x_BNC", "mask_BN", "message"),
    [
        (X[0], None, r"shape \(5, 3\); expected \(cases, nodes, 3\)"),
        (X[..., :2], None, r"shape \(2, 5, 2\)"),
        (X[:, :0], None, "no nodes"),
        (X.long(), None, "floating-point"),
        (X, FULL[:1], r"mask has shape \(1, 5\); expected \(2, 5\)"),
        (X, FULL[:, :4], "mask has shape"),
        (X, FULL[..., None], "mask has shape"),
        (X, FULL.double(), "torch.bool"),
        (X, FULL.to("meta"), "mask is on meta, input on cpu"),
        (X, torch.tensor([[True] * 5, [False] * 5]), "hides every node"),
    ],
)
def test_rejects_what_does_not_fit(
    model: nn.Module, x_BNC: Tensor, mask_BN: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(x_BNC, mask_BN)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.slow
def test_learns_a_small_case_to_within_one_percent(name: str) -> None:
    """A smooth field on 100 nodes, in float32 and from the model's own initial weights."""
    torch.manual_seed(0)
    model = BUILDERS[name]()
    x_BNC = torch.rand(1, 100, IN_CHANNELS)
    x, y, z = x_BNC.unbind(dim=-1)
    target_BNO = torch.stack([z * (1 - z) + 0.3 * x * y, torch.sin(2 * x) - z], dim=-1)
    rate, steps = PEAK_LEARNING_RATES.get(name, 1e-2), STEPS.get(name, 600)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps)
    for _ in range(steps):
        optimiser.zero_grad()
        error = torch.linalg.norm(model(x_BNC) - target_BNO) / torch.linalg.norm(target_BNO)
        error.backward()
        optimiser.step()
        schedule.step()
    assert error.item() < 0.01
