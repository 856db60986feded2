"""The whole model: published structure, an independent float64 oracle, precision, compilation."""

import copy
import dataclasses
import doctest
import shutil
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import flare
from flare import FLARE, MIXERS, ROUTES, FLAREConfig, checkpointing, forced_route, routing, spectrum
from flare.config import MixerName

SMALL = FLAREConfig(in_channels=3, out_channels=2, channels=16, num_blocks=2, num_heads=2, num_latents=6)


OPTIONS = {
    "as published": {},
    "FLARE++": {"mixer": "flare++"},
    "gated FLARE++": {"mixer": "flare++gated"},
    "deep projections": {"projection_layers": 5, "projection_ratio": 1.0},
    "wide projections": {"projection_layers": 1, "projection_ratio": 1.5},
    "linear projections": {"projection_layers": -1},
    "shared latents": {"shared_latents": True},
    "latent blocks": {"latent_blocks": 2},
    "normalised queries and keys": {"qk_norm": True},
    "scaled scores": {"attention_scale": "inverse_sqrt"},
    "GEGLU": {"feed_forward": "geglu", "feed_forward_ratio": 1.5},
    "SwiGLU": {"feed_forward": "swiglu"},
    "wide feed-forward": {"feed_forward_layers": 0, "feed_forward_ratio": 2.0},
    "linear feed-forward": {"feed_forward_layers": -1},
    "short projections in and out": {"in_out_layers": 0},
    "SiLU": {"activation": "silu"},
    "RMSNorm": {"norm": "rms"},
    "condition": {"condition_channels": 3},
    "gated FLARE++ with all": {
        "mixer": "flare++gated",
        "shared_latents": True,
        "latent_blocks": 1,
        "projection_layers": -1,
        "feed_forward_layers": 0,
        "feed_forward_ratio": 2.0,
        "norm": "rms",
        "condition_channels": 1,
    },
    "FLARE++ with all": {
        "mixer": "flare++",
        "shared_latents": True,
        "latent_blocks": 1,
        "qk_norm": True,
        "attention_scale": "one",
        "projection_layers": -1,
        "feed_forward": "swiglu",
        "norm": "rms",
        "condition_channels": 1,
    },
}


def with_options(name: str) -> FLAREConfig:
    return dataclasses.replace(SMALL, **OPTIONS[name])  # type: ignore[arg-type]


def random_condition(config: FLAREConfig, cases: int) -> Tensor | None:
    if not config.condition_channels:
        return None
    return torch.randn(cases, config.condition_channels, dtype=torch.float64)


def gradients(model: FLARE, y: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(y.square().sum(), list(model.parameters())))


def published_parameter_names(num_blocks: int) -> set[str]:
    """List the parameters of the reference implementation (vpuri3/FLARE.py, pdebench/models/flare.py)."""

    def layer(name: str) -> set[str]:
        return {f"{name}.weight", f"{name}.bias"}

    def mlp(name: str, layers: int) -> set[str]:
        hidden = (f"fcs.{j}" for j in range(layers))
        return set().union(*(layer(f"{name}.{part}") for part in ("fc1", *hidden, "fc2")))

    names = mlp("in_proj", 2) | layer("out_proj.0") | mlp("out_proj.1", 2)
    for block in (f"blocks.{i}" for i in range(num_blocks)):
        names |= layer(f"{block}.norm1") | layer(f"{block}.norm2") | mlp(f"{block}.mlp", 3)
        names |= mlp(f"{block}.att.k_proj", 3) | mlp(f"{block}.att.v_proj", 3)
        names |= layer(f"{block}.att.out_proj") | {f"{block}.att.latent_q"}
    return names


@pytest.mark.parametrize("module", [flare, routing, checkpointing, spectrum])
def test_examples_run(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


def test_published_structure() -> None:
    model = FLARE(FLAREConfig(in_channels=3, out_channels=1))
    assert set(model.state_dict()) == published_parameter_names(num_blocks=8)
    assert model.state_dict()["blocks.0.att.latent_q"].shape == (64, 128)


def test_published_initialisation() -> None:
    model = FLARE(FLAREConfig(in_channels=3, out_channels=1))
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    weights = torch.cat([m.weight.flatten() for m in linears])
    assert abs(weights.std().item() - 0.02) < 1e-4
    assert abs(weights.mean().item()) < 1e-4
    assert all((m.bias == 0).all() for m in linears)


def test_initialisation_follows_the_seed() -> None:
    torch.manual_seed(7)
    first = FLARE(SMALL).state_dict()
    torch.manual_seed(7)
    second = FLARE(SMALL).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("nodes", [1, 4, 50])
def test_agrees_with_oracle(nodes: int, options: str, make_model, oracle) -> None:
    config = with_options(options)
    model = make_model(config).double()
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    x_NC = torch.randn(nodes, 3, dtype=torch.float64)
    condition_BK = random_condition(config, 1)
    target_NO = torch.randn(nodes, 2, dtype=torch.float64)

    y_NO = model(x_NC[None], condition_BK=condition_BK)[0]
    expected_NO = oracle(weights, config)(x_NC, None if condition_BK is None else condition_BK[0])
    assert_close(y_NO, expected_NO, rtol=1e-11, atol=1e-11)
    ((y_NO - target_NO) ** 2).sum().backward()
    ((expected_NO - target_NO) ** 2).sum().backward()
    for name, parameter in model.named_parameters():
        assert_close(
            parameter.grad, weights[name].grad, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("options", OPTIONS)
def test_padding_is_without_effect(options: str, make_model) -> None:
    config = with_options(options)
    model = make_model(config).double()
    lengths, nodes = (7, 1, 4), 9
    x_BNC = torch.full((3, nodes, 3), torch.nan, dtype=torch.float64)
    mask_BN = torch.stack([torch.randperm(nodes) < length for length in lengths])
    x_BNC[mask_BN] = torch.randn(sum(lengths), 3, dtype=torch.float64)
    condition_BK = random_condition(config, 3)

    y_BNO = model(x_BNC, mask_BN, condition_BK)
    alone = [
        model(x_BNC[b, real][None], condition_BK=None if condition_BK is None else condition_BK[b : b + 1])
        for b, real in enumerate(mask_BN)
    ]
    assert (y_BNO[~mask_BN] == 0).all()
    assert_close(y_BNO[mask_BN], torch.cat(alone, dim=1)[0], rtol=1e-10, atol=1e-10)
    expected = gradients(model, torch.cat(alone, dim=1))
    for g, e in zip(gradients(model, y_BNO), expected, strict=True):
        assert_close(g, e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS)
def test_equivariant_to_the_order_of_nodes(options: str, make_model) -> None:
    config = with_options(options)
    model = make_model(config).double()
    x_BNC, condition_BK = torch.randn(2, 11, 3, dtype=torch.float64), random_condition(config, 2)
    order = torch.randperm(11)
    expected = model(x_BNC, condition_BK=condition_BK)[:, order]
    assert_close(model(x_BNC[:, order], condition_BK=condition_BK), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_parameter_learns(options: str, make_model) -> None:
    config = with_options(options)
    model = make_model(config).double()
    y_BNO = model(torch.randn(2, 20, 3, dtype=torch.float64), condition_BK=random_condition(config, 2))
    for (name, _), gradient in zip(model.named_parameters(), gradients(model, y_BNO), strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


@pytest.mark.parametrize(
    ("mixer", "count"), [("flare", 625_473), ("flare++", 958_273), ("flare++gated", 857_729)]
)
def test_parameter_count_at_the_published_size(mixer: MixerName, count: int) -> None:
    model = FLARE(FLAREConfig(in_channels=3, out_channels=1, mixer=mixer))
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("name", ROUTES)
def test_every_route_gives_the_same(name: str, mixer: MixerName, make_model) -> None:
    if name == "triton":
        pytest.importorskip("triton")
    config = dataclasses.replace(SMALL, mixer=mixer)
    model = make_model(config).double()
    asked = FLARE(dataclasses.replace(config, route=name)).double()
    asked.load_state_dict(model.state_dict())
    x_BNC, mask_BN = torch.randn(2, 30, 3, dtype=torch.float64), torch.arange(30) < torch.tensor([[30], [11]])
    with forced_route("plain"):
        expected = model(x_BNC, mask_BN)
    with forced_route(name):
        assert_close(model(x_BNC, mask_BN), expected)
    assert_close(asked(x_BNC, mask_BN), expected)


@pytest.mark.parametrize("head_dim", [8, 16], ids=["widened heads", "plain heads"])
def test_float32_agrees_with_float64(head_dim: int, make_model) -> None:
    config = FLAREConfig(3, 1, channels=2 * head_dim, num_blocks=3, num_heads=2, num_latents=16)
    model = make_model(config)
    x_BNC = torch.randn(2, 300, 3)
    exact = copy.deepcopy(model).double()(x_BNC.double())
    assert torch.linalg.norm(model(x_BNC) - exact) < 1e-5 * torch.linalg.norm(exact)


@pytest.mark.parametrize("options", ["as published", "FLARE++", "gated FLARE++"])
def test_bfloat16_autocast_agrees_with_float32(options: str, make_model) -> None:
    model = make_model(with_options(options))
    x_BNC = torch.randn(2, 100, 3)
    mask_BN = torch.arange(100) < torch.tensor([[100], [60]])
    exact = model(x_BNC, mask_BN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(x_BNC, mask_BN)
    rounded.float().sum().backward()
    # bfloat16 keeps 8 bits: 0.4 % per operation, over some thirty layers.
    assert torch.linalg.norm(rounded - exact) < 0.05 * torch.linalg.norm(exact)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_runs_in_bfloat16_alone(make_model) -> None:
    model = make_model(SMALL)
    x_BNC = torch.randn(2, 50, 3)
    exact = model(x_BNC)
    rounded = model.bfloat16()(x_BNC.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert torch.linalg.norm(rounded - exact) < 0.1 * torch.linalg.norm(exact)


@pytest.mark.parametrize(
    ("backend", "mixer"),
    [*(("eager", mixer) for mixer in MIXERS), pytest.param("inductor", "flare++", marks=pytest.mark.slow)],
)
def test_compiles_as_one_graph(backend: str, mixer: MixerName, make_model) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler for torch.compile")
    # What other tests compiled counts towards the limit of recompilations.
    torch.compiler.reset()
    model = make_model(dataclasses.replace(SMALL, num_blocks=1, mixer=mixer))
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    x_BNC = torch.randn(2, 30, 3)
    mask_BN = torch.arange(30) < torch.tensor([[30], [11]])
    for mask in (None, mask_BN):
        expected = torch.autograd.grad(model(x_BNC, mask).square().sum(), list(model.parameters()))
        got = torch.autograd.grad(compiled(x_BNC, mask).square().sum(), list(model.parameters()))
        assert_close(compiled(x_BNC, mask), model(x_BNC, mask), rtol=1e-4, atol=1e-5)
        for g, e in zip(got, expected, strict=True):
            assert_close(g, e, rtol=1e-3, atol=1e-3 * e.abs().max().item() + 1e-7)
