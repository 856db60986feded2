"""The whole model: published structure, an independent float64 oracle, precision, compilation."""

import copy
import dataclasses
import doctest
import math
import shutil

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import flare
from flare import FLARE, FLAREConfig, check_no_empty_case

SMALL = FLAREConfig(in_channels=3, out_channels=2, channels=16, num_blocks=2, num_heads=2, num_latents=6)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_model(config: FLAREConfig = SMALL) -> FLARE:
    """Build a model whose attention is far from uniform, unlike that of a fresh one."""
    model = FLARE(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.15)
    return model


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


def oracle(weights: dict[str, Tensor], x_NC: Tensor, config: FLAREConfig) -> Tensor:
    """Write FLARE out from the paper for one case, with every attention matrix formed."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def mlp(name: str, x: Tensor, layers: int, skip_in: bool = True, skip_out: bool = True) -> Tensor:
        x = x + gelu(linear(f"{name}.fc1", x)) if skip_in else gelu(linear(f"{name}.fc1", x))
        for j in range(layers):
            x = x + gelu(linear(f"{name}.fcs.{j}", x))
        return x + linear(f"{name}.fc2", x) if skip_out else linear(f"{name}.fc2", x)

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(dim=1, keepdim=True) + 1e-5)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def mix(name: str, x: Tensor) -> Tensor:
        head_dim = config.channels // config.num_heads
        queries = weights[f"{name}.latent_q"].reshape(config.num_heads, config.num_latents, head_dim)
        keys, values = mlp(f"{name}.k_proj", x, 3), mlp(f"{name}.v_proj", x, 3)
        heads = []
        for h, q_MD in enumerate(queries):
            columns = slice(h * head_dim, (h + 1) * head_dim)
            scores_MN = q_MD @ keys[:, columns].T
            heads.append(torch.softmax(scores_MN.T, 1) @ torch.softmax(scores_MN, 1) @ values[:, columns])
        return linear(f"{name}.out_proj", torch.cat(heads, dim=1))

    x = mlp("in_proj", x_NC, 2, skip_in=False)
    for i in range(config.num_blocks):
        x = x + mix(f"blocks.{i}.att", norm(f"blocks.{i}.norm1", x))
        x = x + mlp(f"blocks.{i}.mlp", norm(f"blocks.{i}.norm2", x), 3)
    return mlp("out_proj.1", norm("out_proj.0", x), 2, skip_out=False)


def test_example_of_the_package_runs() -> None:
    results = doctest.testmod(flare)
    assert results.attempted
    assert not results.failed


def test_published_parameter_count() -> None:
    model = FLARE(FLAREConfig(in_channels=3, out_channels=1))
    assert sum(p.numel() for p in model.parameters()) == 625_473


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


@pytest.mark.parametrize("nodes", [1, 4, 50])
def test_agrees_with_oracle(nodes: int) -> None:
    model = make_model().double()
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    x_NC = torch.randn(nodes, 3, dtype=torch.float64)
    target_NO = torch.randn(nodes, 2, dtype=torch.float64)

    y_NO, expected_NO = model(x_NC[None])[0], oracle(weights, x_NC, SMALL)
    assert_close(y_NO, expected_NO, rtol=1e-11, atol=1e-11)
    ((y_NO - target_NO) ** 2).sum().backward()
    ((expected_NO - target_NO) ** 2).sum().backward()
    for name, parameter in model.named_parameters():
        assert_close(
            parameter.grad, weights[name].grad, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("head_dim", [8, 16], ids=["widened heads", "plain heads"])
def test_float32_agrees_with_float64(head_dim: int) -> None:
    config = FLAREConfig(3, 1, channels=2 * head_dim, num_blocks=3, num_heads=2, num_latents=16)
    model = make_model(config)
    x_BNC = torch.randn(2, 300, 3)
    exact = copy.deepcopy(model).double()(x_BNC.double())
    assert torch.linalg.norm(model(x_BNC) - exact) < 1e-5 * torch.linalg.norm(exact)


def test_bfloat16_autocast_agrees_with_float32() -> None:
    model = make_model()
    x_BNC = torch.randn(2, 100, 3)
    mask_BN = torch.arange(100) < torch.tensor([[100], [60]])
    exact = model(x_BNC, mask_BN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(x_BNC, mask_BN)
    rounded.float().sum().backward()
    # bfloat16 keeps 8 bits: 0.4 % per operation, over some thirty layers.
    assert torch.linalg.norm(rounded - exact) < 0.05 * torch.linalg.norm(exact)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_empty_case_is_named() -> None:
    mask_BN = torch.tensor([[True, False], [False, False], [False, False]])
    with pytest.raises(ValueError, match="case 1, 2 of the batch"):
        check_no_empty_case(mask_BN)
    with pytest.raises(ValueError, match="case 1, 2 of the batch"):
        FLARE(SMALL)(torch.zeros(3, 2, 3), mask_BN)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_as_one_graph(backend: str) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler for torch.compile")
    model = make_model(dataclasses.replace(SMALL, num_blocks=1))
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    x_BNC = torch.randn(2, 30, 3)
    mask_BN = torch.arange(30) < torch.tensor([[30], [11]])
    for mask in (None, mask_BN):
        expected = torch.autograd.grad(model(x_BNC, mask).square().sum(), list(model.parameters()))
        got = torch.autograd.grad(compiled(x_BNC, mask).square().sum(), list(model.parameters()))
        assert_close(compiled(x_BNC, mask), model(x_BNC, mask), rtol=1e-4, atol=1e-5)
        for g, e in zip(got, expected, strict=True):
            assert_close(g, e, rtol=1e-3, atol=1e-3 * e.abs().max().item() + 1e-7)
