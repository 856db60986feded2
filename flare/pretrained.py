"""Models in files: the configuration as JSON, the weights as safetensors; neither executes anything."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from flare.config import FLAREConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

LARGEST_CONFIG = 1 << 16
"""Bytes of a configuration, a hundred times what one takes; more is not read."""

ModelT = TypeVar("ModelT", bound="nn.Module")


class PretrainedError(ValueError):
    """A folder or checkpoint does not hold a model that this version can read."""


def write_pretrained(model: nn.Module, config: FLAREConfig, folder: str | Path) -> None:
    """Write a model; a file of the same name is replaced once its successor is whole.

    Parameters
    ----------
    model : Module
        Its weights go to ``model.safetensors``, in their dtype.
    config : FLAREConfig
        Goes to ``config.json``.
    folder : str or Path
        Created if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    _replace(folder / WEIGHTS_FILE, lambda path: save_file(weights, path))
    text = json.dumps(asdict(config), indent=2) + "\n"
    _replace(folder / CONFIG_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def load_pretrained(build: Callable[[FLAREConfig], ModelT], folder: str | Path) -> ModelT:
    """Read a model that `write_pretrained` wrote, in evaluation mode and host memory.

    Parameters
    ----------
    build : callable
        Makes the model of a configuration.
    folder : str or Path
        Where the two files are.

    Raises
    ------
    PretrainedError
        If a file is missing or damaged, or configuration and weights do not belong together.
    """
    config = read_config(Path(folder) / CONFIG_FILE)
    path = Path(folder) / WEIGHTS_FILE
    weights = _read_weights(path)
    _check_depth(config, len(weights), path)
    # Without memory of its own, so that a configuration alone cannot ask for any.
    try:
        with torch.device("meta"):
            model = build(config)
    except RuntimeError as error:
        raise PretrainedError(
            f"{Path(folder) / CONFIG_FILE} asks for more channels than any machine holds; correct it"
        ) from error
    _check_weights(model.state_dict(), weights, path)
    model.load_state_dict(weights, assign=True)
    return model.eval()


def read_config(path: Path) -> FLAREConfig:
    """Read a configuration.

    Raises
    ------
    PretrainedError
        If it is missing, no JSON, or its keys or values are not those of `FLAREConfig`.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_CONFIG + 1)
    except OSError as error:
        raise PretrainedError(
            f"cannot read {path}: {error.strerror}; name a folder that save_pretrained wrote"
        ) from error
    try:
        stored: Any = json.loads(text) if len(text) <= LARGEST_CONFIG else None
    except (ValueError, RecursionError) as error:
        raise PretrainedError(f"{path} is not JSON; save the model again") from error
    if not isinstance(stored, dict):
        raise PretrainedError(f"{path} is no configuration of a model; save the model again")
    known = {field.name for field in fields(FLAREConfig)}
    if wrong := sorted(known ^ stored.keys()):
        problem = "; ".join(
            f"{'unknown' if name in stored else 'missing'} key {name!r}" for name in wrong[:3]
        )
        raise PretrainedError(f"{path}: {problem}; save the model with this version")
    try:
        return FLAREConfig(**stored)
    except (ValueError, TypeError) as error:
        raise PretrainedError(f"{path}: {error}; correct it or save the model again") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise PretrainedError(f"cannot read {path}: {error.strerror or 'no such file'}") from error
    except SafetensorError as error:
        raise PretrainedError(f"{path} is damaged or no safetensors file; save the model again") from error


def _check_depth(config: FLAREConfig, tensors: int, path: Path) -> None:
    """Raise if there are more layers than tensors, before so many layers are built."""
    in_block = max(1, config.projection_layers, config.feed_forward_layers, config.latent_blocks)
    if config.num_blocks * in_block + config.in_out_layers > tensors:
        raise PretrainedError(f"{path} has fewer layers than {CONFIG_FILE} beside it asks for")


def _check_weights(expected: dict[str, Tensor], weights: dict[str, Tensor], path: Path) -> None:
    if wrong := sorted(expected.keys() ^ weights.keys()):
        problem = f"{'unknown' if wrong[0] in weights else 'missing'} tensor {wrong[0]!r}"
        raise PretrainedError(f"{path}: {problem}; it does not belong to {CONFIG_FILE} beside it")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise PretrainedError(
                f"{path}: {name} has shape {tuple(value.shape)}, {CONFIG_FILE} beside it asks for "
                f"{tuple(expected[name].shape)}"
            )
    dtypes = {value.dtype for value in weights.values()}
    if len(dtypes) > 1 or not next(iter(dtypes)).is_floating_point:
        names = ", ".join(sorted(map(str, dtypes)))
        raise PretrainedError(f"{path} holds {names}; expected one floating-point dtype")


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)
