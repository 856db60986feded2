"""The FLARE family written out from the papers, as an oracle for every test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from flare import FLARE, FLAREConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Oracle:
    """A model for one case, in plain matrix algebra, with every attention matrix formed."""

    def __init__(self, weights: Mapping[str, Tensor], config: FLAREConfig) -> None:
        self.weights = weights
        self.config = config
        self.scale = 1.0
        if config.attention_scale == "inverse_sqrt" or (
            config.mixer != "flare" and config.attention_scale == "auto"
        ):
            self.scale = (config.channels / config.num_heads) ** -0.5

    def __call__(self, x_NC: Tensor, condition_K: Tensor | None = None) -> Tensor:
        layers = self.config.in_out_layers
        x = self.mlp("in_proj", x_NC, layers, skip_in=False)
        if condition_K is not None:
            x = x + self.mlp("condition_proj", condition_K, 0, skip_in=False)
        for i in range(self.config.num_blocks):
            x = x + self.mix(f"blocks.{i}.att", self.norm(f"blocks.{i}.norm1", x))
            x = x + self.feed_forward(f"blocks.{i}.mlp", self.norm(f"blocks.{i}.norm2", x))
        return self.mlp("out_proj.1", self.norm("out_proj.0", x), layers, skip_out=False)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def activate(self, x: Tensor, kind: str | None = None) -> Tensor:
        if (kind or self.config.activation) == "silu":
            return x / (1 + torch.exp(-x))
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def norm(self, name: str, x: Tensor) -> Tensor:
        x = self.standardise(x) * self.weights[f"{name}.weight"]
        return x if self.config.norm == "rms" else x + self.weights[f"{name}.bias"]

    def standardise(self, x: Tensor) -> Tensor:
        if self.config.norm == "rms":
            return x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + 1e-6)
        x = x - x.mean(dim=-1, keepdim=True)
        return x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + 1e-5)

    def mlp(self, name: str, x: Tensor, layers: int, skip_in: bool = True, skip_out: bool = True) -> Tensor:
        if layers == -1:
            return x + self.linear(f"{name}.fc", x)
        hidden = self.weights[f"{name}.fc1.weight"].shape[0]
        skip_in, skip_out = skip_in and hidden == x.shape[-1], skip_out and hidden == self.config.channels
        h = self.activate(self.linear(f"{name}.fc1", x)) + (x if skip_in else 0)
        for j in range(layers):
            h = h + self.activate(self.linear(f"{name}.fcs.{j}", h))
        return self.linear(f"{name}.fc2", h) + (h if skip_out else 0)

    def feed_forward(self, name: str, x: Tensor) -> Tensor:
        if self.config.feed_forward == "residual":
            return self.mlp(name, x, self.config.feed_forward_layers)
        kind = "gelu" if self.config.feed_forward == "geglu" else "silu"
        gate = self.activate(self.linear(f"{name}.gate", x), kind)
        return self.linear(f"{name}.fc2", gate * self.linear(f"{name}.fc1", x))

    def attention(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        return torch.softmax(scale * q @ k.T, dim=1) @ v

    def heads(self, x: Tensor) -> list[Tensor]:
        return list(x.split(self.config.channels // self.config.num_heads, dim=1))

    def mix(self, name: str, x: Tensor) -> Tensor:
        config = self.config
        head_dim = config.channels // config.num_heads

        def project(kind: str) -> list[Tensor]:
            return self.heads(self.mlp(f"{name}.{kind}_proj", x, config.projection_layers))

        def normalise(kind: str, parts: list[Tensor]) -> list[Tensor]:
            return [self.norm(f"{name}.{kind}_norm", part) for part in parts] if config.qk_norm else parts

        def learned(kind: str) -> list[Tensor]:
            stored = self.weights[f"{name}.{kind}"].flatten()
            size = head_dim * config.num_latents
            starts = [0 if config.shared_latents else h * size for h in range(config.num_heads)]
            return [stored[start : start + size].view(-1, head_dim) for start in starts]

        queries, keys = learned("latent_q"), project("k")
        if config.mixer == "flare++":
            seeds, seed_keys = normalise("seed", queries), normalise("query_k", project("query_k"))
            queries = [
                self.attention(q, k, v, self.scale)
                for q, k, v in zip(seeds, seed_keys, project("query_v"), strict=True)
            ]
        if config.mixer == "flare++gated":
            gates = 1 / (1 + torch.exp(-self.weights[f"{name}.gate_logit"]))
            seeds = [self.norm(f"{name}.seed_norm", seed) for seed in learned("seed_q")]
            summarised = [self.standardise(part) for part in project("query_k")]
            queries = [
                self.standardise(q) + gate * self.attention(seed, x, x, self.scale)
                for q, gate, seed, x in zip(queries, gates, seeds, summarised, strict=True)
            ]
            keys = [self.norm(f"{name}.k_norm", part) for part in keys]
        queries, keys = normalise("q", queries), normalise("k", keys)
        latents = [
            self.attention(q, k, v, self.scale) for q, k, v in zip(queries, keys, project("v"), strict=True)
        ]
        for i in range(config.latent_blocks):
            latents = self.heads(self.latent_block(f"{name}.latent_blocks.{i}", torch.cat(latents, dim=1)))
        mixed = [self.attention(k, q, z, self.scale) for k, q, z in zip(keys, queries, latents, strict=True)]
        return self.linear(f"{name}.out_proj", torch.cat(mixed, dim=1))

    def latent_block(self, name: str, z: Tensor) -> Tensor:
        normed = self.norm(f"{name}.norm1", z)
        q, k, v = (self.heads(t) for t in self.linear(f"{name}.qkv_proj", normed).chunk(3, dim=1))
        scale = q[0].shape[1] ** -0.5
        attended = [self.attention(*parts, scale) for parts in zip(q, k, v, strict=True)]
        z = z + self.linear(f"{name}.out_proj", torch.cat(attended, dim=1))
        hidden = self.activate(self.linear(f"{name}.fc1", self.norm(f"{name}.norm2", z)))
        return z + self.linear(f"{name}.fc2", hidden)


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture(scope="session")
def make_model() -> Callable[[FLAREConfig], FLARE]:
    """Return a builder of models whose attention is far from uniform, unlike that of fresh ones."""

    def make(config: FLAREConfig) -> FLARE:
        model = FLARE(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.15)
        return model

    return make
