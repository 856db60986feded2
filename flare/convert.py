"""Checkpoints of the reference implementation (vpuri3/FLARE.py) as models of this package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flare.backbone import FLARE
from flare.config import SINGLE_LINEAR, FLAREConfig
from flare.pretrained import PretrainedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flare.config import ActivationName, MixerName, ScaleName

_WRAPPERS = ("model_state", "model_state_dict", "state_dict")
"""Keys under which checkpoints hold the weights beside the state of the training."""

_PREFIXES = ("module.", "_orig_mod.")
"""What data-parallel training, averaging of weights and torch.compile put before each name."""

_COUNTER = "n_averaged"
"""Counts the steps that weights were averaged over."""

_RENAMED = (
    # The first release of FLARE, and its module of ablations.
    (r"(blocks\.\d+)\.ln([12])\.", r"\1.norm\2."),
    (r"^out_proj\.ln\.", "out_proj.0."),
    (r"^out_proj\.mlp\.", "out_proj.1."),
    # FLARE++.
    (r"(blocks\.\d+)\.mixer\.", r"\1.att."),
    (r"(blocks\.\d+)\.ffn\.", r"\1.mlp."),
    (r"\.latent_q_fixed$", ".latent_q"),
    (r"\.latent_q0$", ".seed_q"),
    (r"\.q0_norm\.", ".seed_norm."),
    (r"\.k0_proj\.", ".query_k_proj."),
)
"""Names that releases of the repository differ in, and ours."""

_SKIP_IN_WEIGHT = re.compile(r"\.att\.(k|v|query_k)_proj\.(weight|bias)$")
"""Linear layers of FLARE++ whose weight holds their skip connection, as an identity."""


def load_reference_state_dict(
    state_dict: Mapping[str, Any],
    num_heads: int = 8,
    *,
    attention_scale: ScaleName = "one",
    activation: ActivationName = "gelu",
) -> FLARE:
    """Build the model that a checkpoint of the published repository holds.

    FLARE in every layout it was released in, shared latents, and FLARE++ (its later version, as
    ``pdebench/models/flarepp.py``).  The sizes are read off the shapes.  What leaves no trace in them is
    to be told; the defaults are those of the published LPBF model.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        As `torch.load` with ``weights_only=True`` returns it: the weights by name, or a mapping that
        holds them as ``model_state``.
    num_heads : int
        Heads the model was trained with; not looked at for FLARE++, whose shapes tell.
    attention_scale : {"one", "inverse_sqrt"}
        What its attention scores are multiplied by; not looked at for FLARE++, which has but one.
    activation : {"gelu", "silu"}
        Its nonlinearity.

    Returns
    -------
    FLARE
        In evaluation mode, with copies of the weights.

    Raises
    ------
    PretrainedError
        If these are not the weights of a FLARE model of the repository, or what is told does not fit them.
    """
    weights = _rename(_unwrap(state_dict))
    gated = weights.get("blocks.0.att.seed_q")
    if gated is not None:
        if gated.ndim != 3:
            raise PretrainedError("the seeds of the checkpoint have no heads; only FLARE models convert")
        num_heads, attention_scale = len(gated), "inverse_sqrt"
        weights = _as_gated(weights)
    config = _infer_config(weights, num_heads, attention_scale, activation)
    model = FLARE(config)
    expected = model.state_dict()
    if wrong := sorted(expected.keys() ^ weights.keys()):
        kind = "an unknown" if wrong[0] in weights else "no"
        raise PretrainedError(f"the checkpoint has {kind} tensor {wrong[0]!r}; only FLARE models convert")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise PretrainedError(
                f"{name} of the checkpoint has shape {tuple(value.shape)}; the others ask for "
                f"{tuple(expected[name].shape)}"
            )
    dtype = weights["blocks.0.att.latent_q"].dtype
    model.to(dtype).load_state_dict(weights)
    return model.eval()


def _unwrap(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights by the names of the module tree."""
    for key in _WRAPPERS:
        if isinstance(state_dict.get(key), dict):
            state_dict = state_dict[key]
    weights = {}
    for stored_name, value in state_dict.items():
        name = _strip(stored_name) if isinstance(stored_name, str) else stored_name
        if name == _COUNTER:
            continue
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise PretrainedError(
                f"the checkpoint holds {stored_name!r}, no tensor with a name; pass the weights alone"
            )
        weights[name] = value
    return weights


def _rename(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def _as_gated(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay the weights of FLARE++ out as ours: latents (C, M), skip connections outside of weights."""
    converted = {}
    for name, value in weights.items():
        if value.ndim == 3:
            heads, latents, channels = value.shape
            value = value.reshape(heads * channels, latents)
        elif _SKIP_IN_WEIGHT.search(name):
            if value.ndim == 2 and value.shape[0] == value.shape[1]:
                value = value - torch.eye(len(value), dtype=value.dtype, device=value.device)
            stem, _, kind = name.rpartition(".")
            name = f"{stem}.fc.{kind}"
        converted[name] = value
    return converted


def _strip(name: str) -> str:
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name


def _infer_config(
    weights: Mapping[str, Tensor], num_heads: int, attention_scale: ScaleName, activation: ActivationName
) -> FLAREConfig:
    rows, num_latents = _shape(weights, "blocks.0.att.latent_q")
    channels = _shape(weights, "blocks.0.att.out_proj.weight")[0]
    mixer: MixerName = "flare++gated" if "blocks.0.att.seed_q" in weights else "flare"
    projection_layers, projection_ratio = _mlp_size(weights, "blocks.0.att.k_proj", channels)
    feed_forward_layers, feed_forward_ratio = _mlp_size(weights, "blocks.0.mlp", channels)
    in_out_layers, _ = _mlp_size(weights, "in_proj", channels)
    last = "fc2" if "out_proj.1.fc2.weight" in weights else "fc"
    return FLAREConfig(
        in_channels=_shape(weights, "in_proj.fc1.weight")[1],
        out_channels=_shape(weights, f"out_proj.1.{last}.weight")[0],
        channels=channels,
        num_blocks=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
        num_heads=num_heads,
        num_latents=num_latents,
        mixer=mixer,
        shared_latents=rows < channels,
        projection_layers=projection_layers,
        projection_ratio=projection_ratio,
        qk_norm="blocks.0.att.q_norm.weight" in weights,
        attention_scale=attention_scale,
        feed_forward_layers=feed_forward_layers,
        feed_forward_ratio=feed_forward_ratio,
        in_out_layers=in_out_layers,
        activation=activation,
        norm="layer" if "blocks.0.norm1.bias" in weights else "rms",
    )


def _mlp_size(weights: Mapping[str, Tensor], name: str, channels: int) -> tuple[int, float]:
    """Hidden layers of an MLP, and its hidden width over `channels`."""
    if f"{name}.fc.weight" in weights:
        return SINGLE_LINEAR, 1.0
    prefix = f"{name}.fcs."
    layers = {key.removeprefix(prefix).split(".")[0] for key in weights if key.startswith(prefix)}
    return len(layers), _shape(weights, f"{name}.fc1.weight")[0] / channels


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in weights or weights[name].ndim != 2:
        raise PretrainedError(f"the checkpoint has no matrix {name!r}; only FLARE models convert")
    rows, columns = weights[name].shape
    return rows, columns
