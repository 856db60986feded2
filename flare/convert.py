"""Checkpoints of the reference implementation (vpuri3/FLARE.py) as models of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from flare.backbone import FLARE
from flare.config import SINGLE_LINEAR, FLAREConfig
from flare.pretrained import PretrainedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flare.config import ActivationName, ScaleName

_WRAPPERS = ("model_state", "model_state_dict", "state_dict")
"""Keys under which checkpoints hold the weights beside the state of the training."""

_PREFIXES = ("module.", "_orig_mod.")
"""What data-parallel training, averaging of weights and torch.compile put before each name."""

_COUNTER = "n_averaged"
"""Counts the steps that weights were averaged over."""


def load_reference_state_dict(
    state_dict: Mapping[str, Any],
    num_heads: int = 8,
    *,
    attention_scale: ScaleName = "one",
    activation: ActivationName = "gelu",
) -> FLARE:
    """Build the model that a checkpoint of the published repository holds.

    The sizes are read off the shapes.  What leaves no trace in them is to be told; the defaults are
    those of the published LPBF model.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        As `torch.load` with ``weights_only=True`` returns it: the weights by name, or a mapping that
        holds them as ``model_state``.
    num_heads : int
        Heads the model was trained with.
    attention_scale : {"one", "inverse_sqrt"}
        What its attention scores are multiplied by.
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
    weights = _unwrap(state_dict)
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


def _strip(name: str) -> str:
    while prefix := next((p for p in _PREFIXES if name.startswith(p)), ""):
        name = name.removeprefix(prefix)
    return name


def _infer_config(
    weights: Mapping[str, Tensor], num_heads: int, attention_scale: ScaleName, activation: ActivationName
) -> FLAREConfig:
    channels, num_latents = _shape(weights, "blocks.0.att.latent_q")
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
