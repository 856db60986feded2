"""Checkpoints of the reference implementation, against a module written after its description."""

import math
import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as attention
from torch.testing import assert_close

from flare import PretrainedError, load_reference_state_dict

GELU = nn.GELU(approximate="tanh")


class MLP(nn.Module):
    def __init__(self, sizes: tuple[int, int, int], layers: int, skips: tuple[bool, bool], act) -> None:
        super().__init__()
        inner, hidden, outer = sizes
        self.layers, self.act = layers, act
        self.skips = skips[0] and inner == hidden, skips[1] and hidden == outer
        if layers == -1:
            self.fc = nn.Linear(inner, outer)
            return
        self.fc1 = nn.Linear(inner, hidden)
        self.fcs = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.fc2 = nn.Linear(hidden, outer)

    def forward(self, x: Tensor) -> Tensor:
        if self.layers == -1:
            return x + self.fc(x)
        x = self.act(self.fc1(x)) + (x if self.skips[0] else 0)
        for fc in self.fcs:
            x = x + self.act(fc(x))
        return self.fc2(x) + (x if self.skips[1] else 0)


class Attention(nn.Module):
    def __init__(
        self, channels: int, heads: int, latents: int, projection: tuple, act, norm, qk: bool
    ) -> None:
        super().__init__()
        layers, hidden = projection
        self.heads, self.qk = heads, qk
        self.latent_q = nn.Parameter(torch.randn(channels, latents))
        if qk:
            self.q_norm, self.k_norm = norm(channels // heads), norm(channels // heads)
        self.k_proj = MLP((channels, hidden, channels), layers, (True, True), act)
        self.v_proj = MLP((channels, hidden, channels), layers, (True, True), act)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, scale: float) -> Tensor:
        cases, nodes, channels = x.shape
        head_dim = channels // self.heads
        q = self.latent_q.reshape(self.heads, -1, head_dim)[None].repeat(cases, 1, 1, 1)
        k, v = (
            projection(x).reshape(cases, nodes, self.heads, head_dim).permute(0, 2, 1, 3)
            for projection in (self.k_proj, self.v_proj)
        )
        if self.qk:
            q, k = self.q_norm(q), self.k_norm(k)
        y = attention(k, q, attention(q, k, v, scale=scale), scale=scale)
        return self.out_proj(y.permute(0, 2, 1, 3).reshape(cases, nodes, channels))


class Block(nn.Module):
    def __init__(self, channels: int, mlp: tuple, att: Attention, act, norm) -> None:
        super().__init__()
        self.norm1, self.norm2, self.att = norm(channels), norm(channels), att
        self.mlp = MLP((channels, mlp[1], channels), mlp[0], (True, True), act)


class Published(nn.Module):
    """The published module tree; `projection` and `mlp` are (layers, hidden width)."""

    def __init__(
        self, channels=16, heads=4, latents=6, blocks=2, projection=(3, 16), mlp=(3, 16), in_out=2,
        norm=nn.LayerNorm, qk=False, scale=1.0, act=GELU, inputs=3, outputs=2,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale = scale
        self.in_proj = MLP((inputs, channels, channels), in_out, (False, True), act)
        self.blocks = nn.ModuleList(
            Block(channels, mlp, Attention(channels, heads, latents, projection, act, norm, qk), act, norm)
            for _ in range(blocks)
        )
        self.out_proj = nn.Sequential(
            norm(channels), MLP((channels, channels, outputs), in_out, (True, False), act)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_proj(x)
        for block in self.blocks:
            x = x + block.att(block.norm1(x), self.scale)
            x = x + block.mlp(block.norm2(x))
        return self.out_proj(x)


RMSNorm = partial(nn.RMSNorm, eps=1e-6)

CASES = {
    "as published": ({}, {}),
    "eight heads by default": ({"heads": 8}, {}),
    "linear projections": ({"projection": (-1, 16), "mlp": (0, 32)}, {}),
    "narrow projections": ({"projection": (1, 8), "mlp": (-1, 16), "in_out": 0}, {}),
    "normalised": ({"norm": RMSNorm, "qk": True}, {}),
    "square": ({"inputs": 16, "outputs": 16}, {}),
    "told": (
        {"scale": 1 / math.sqrt(4), "act": nn.SiLU()},
        {"attention_scale": "inverse_sqrt", "activation": "silu"},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gives_what_the_published_module_gives(case: str, dtype: torch.dtype) -> None:
    built, told = CASES[case]
    published = Published(**built).to(dtype)
    heads = {} if built.get("heads") == 8 else {"num_heads": 4}
    model = load_reference_state_dict(published.state_dict(), **heads, **told)
    x_BNC = torch.randn(2, 30, built.get("inputs", 3), dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert_close(model(x_BNC), published(x_BNC), rtol=tolerance, atol=tolerance)
    assert not model.training


def test_takes_wrapped_checkpoints_and_copies_the_weights() -> None:
    published = Published()
    x_BNC = torch.randn(1, 10, 3)
    expected = published(x_BNC)
    weights = published.state_dict()
    wrapped = {
        "epoch": 3,
        "model_state": {
            "n_averaged": torch.tensor(7),
            **{f"module._orig_mod.{k}": v for k, v in weights.items()},
        },
    }
    model = load_reference_state_dict(wrapped, num_heads=4)
    weights["in_proj.fc1.weight"].zero_()
    assert_close(model(x_BNC), expected)


FIRST_RELEASE = (
    (r"\.norm([12])\.", r".ln\1."),
    (r"^out_proj\.0", "out_proj.ln"),
    (r"^out_proj\.1", "out_proj.mlp"),
)


def test_takes_the_names_of_the_first_release() -> None:
    published = Published()
    weights = {}
    for name, value in published.state_dict().items():
        for pattern, replacement in FIRST_RELEASE:
            name = re.sub(pattern, replacement, name)
        weights[name] = value
    assert "blocks.0.ln1.weight" in weights
    assert "out_proj.mlp.fc1.weight" in weights
    x_BNC = torch.randn(1, 10, 3)
    assert_close(load_reference_state_dict(weights, num_heads=4)(x_BNC), published(x_BNC))


def test_takes_shared_latents() -> None:
    published = Published()
    for block in published.blocks:
        shared = torch.randn(4, 6)
        block.att.latent_q = nn.Parameter(shared.reshape(1, 6, 4).repeat(4, 1, 1).reshape(16, 6))
        block.att.shared = shared
    weights = published.state_dict()
    for i, block in enumerate(published.blocks):
        weights[f"blocks.{i}.att.latent_q"] = block.att.shared
    model = load_reference_state_dict(weights, num_heads=4)
    assert model.config.shared_latents
    x_BNC = torch.randn(1, 10, 3)
    assert_close(model(x_BNC), published(x_BNC))


class GatedAttention(nn.Module):
    """The published mixer of FLARE++, whose linear layers hold their skip connections."""

    def __init__(self, channels: int, heads: int, latents: int, norm) -> None:
        super().__init__()
        width = channels // heads
        self.heads = heads
        self.latent_q0, self.latent_q_fixed = (
            nn.Parameter(torch.randn(heads, latents, width)) for _ in range(2)
        )
        self.gate_logit = nn.Parameter(torch.randn(heads))
        self.q0_norm, self.k_norm = norm(width), norm(width)
        self.free_norm = norm(width, elementwise_affine=False)
        self.k0_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(channels, channels) for _ in range(4)
        )

    def forward(self, x: Tensor, _: float) -> Tensor:
        k0, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.k0_proj, self.k_proj, self.v_proj)
        )
        q0 = self.q0_norm(self.latent_q0).expand(len(x), -1, -1, -1)
        k0, k = self.free_norm(k0), self.k_norm(k)
        gate = torch.sigmoid(self.gate_logit).view(1, -1, 1, 1)
        q = self.free_norm(self.latent_q_fixed) + gate * attention(q0, k0, k0)
        y = attention(k, q, attention(q, k, v))
        return self.out_proj(y.transpose(1, 2).flatten(2))


def published_plus_plus(norm=nn.LayerNorm) -> tuple[Published, dict[str, Tensor]]:
    """FLARE++ with random norms, and its weights by the names of the repository."""
    model = Published(channels=16, heads=2, latents=6, projection=(-1, 16), mlp=(0, 32), norm=norm)
    for block in model.blocks:
        block.att = GatedAttention(16, 2, 6, norm)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    renamed = {
        name.replace(".att.", ".mixer.").replace(".mlp.", ".ffn."): value
        for name, value in model.state_dict().items()
    }
    return model, renamed


@pytest.mark.parametrize("norm", [nn.LayerNorm, RMSNorm])
def test_takes_plus_plus(norm) -> None:
    published, weights = published_plus_plus(norm)
    published, weights = published.double(), {name: value.double() for name, value in weights.items()}
    model = load_reference_state_dict(weights)
    assert (model.config.mixer, model.config.num_heads) == ("flare++gated", 2)
    x_BNC = torch.randn(2, 30, 3, dtype=torch.float64)
    assert_close(model(x_BNC), published(x_BNC), rtol=1e-11, atol=1e-11)


def test_plus_plus_with_values_of_their_own_is_named() -> None:
    _, weights = published_plus_plus()
    weights["blocks.0.mixer.v0_proj.weight"] = torch.zeros(16, 16)
    with pytest.raises(PretrainedError, match=r"unknown tensor 'blocks.0.att.v0_proj.weight'"):
        load_reference_state_dict(weights)
    weights["blocks.0.mixer.latent_q0"] = torch.zeros(16, 6)
    with pytest.raises(PretrainedError, match="seeds of the checkpoint have no heads"):
        load_reference_state_dict(weights)


def spoil(**changes: object) -> dict[str, object]:
    weights = {**Published().state_dict(), **{k.replace("__", "."): v for k, v in changes.items()}}
    return {name: value for name, value in weights.items() if value is not None}


@pytest.mark.parametrize(
    ("weights", "heads", "message"),
    [
        ({}, 4, "no matrix 'blocks.0.att.latent_q'; only FLARE models convert"),
        (spoil(in_proj__fc1__weight=None), 4, "no matrix 'in_proj.fc1.weight'"),
        (spoil(blocks__1__norm1__bias=None), 4, "no tensor 'blocks.1.norm1.bias'"),
        (spoil(gate=torch.zeros(1)), 4, "unknown tensor 'gate'"),
        (spoil(epoch=3), 4, "'epoch', no tensor with a name"),
        ({0: torch.zeros(1)}, 4, "holds 0, no tensor with a name"),
        (spoil(in_proj__fc1__bias=torch.zeros(5)), 4, r"in_proj.fc1.bias .* shape \(5,\)"),
        (spoil(), 5, "num_heads=5 must divide channels=16"),
    ],
)
def test_what_does_not_convert_is_named(weights: dict[object, object], heads: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_reference_state_dict(weights, heads)
    assert heads == 5 or isinstance(caught.value, PretrainedError)
