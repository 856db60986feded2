"""Models in files, whole and spoilt."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flare import FLARE, MIXERS, FLAREConfig, PretrainedError

SMALL = FLAREConfig(3, 2, channels=16, num_blocks=2, num_heads=2, num_latents=6)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    FLARE(SMALL).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit_config(folder: Path, **changes: object) -> None:
    stored = json.loads((folder / "config.json").read_text())
    stored = {k: v for k, v in {**stored, **changes}.items() if v is not ...}
    (folder / "config.json").write_text(json.dumps(stored))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mixer", MIXERS)
def test_comes_back_the_same(mixer, dtype: torch.dtype, tmp_path: Path, make_model) -> None:
    model = make_model(dataclasses.replace(SMALL, mixer=mixer, shared_latents=True)).to(dtype)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    again = FLARE.from_pretrained(tmp_path)
    assert again.config == model.config
    assert not again.training
    x_BNC = torch.randn(1, 20, 3).to(dtype)
    assert torch.equal(again(x_BNC), model(x_BNC))
    again(x_BNC).sum().backward()
    assert all(p.grad is not None for p in again.parameters())


def test_a_second_save_replaces_the_first(saved: Path) -> None:
    model = FLARE(dataclasses.replace(SMALL, num_latents=4))
    model.save_pretrained(saved)
    assert FLARE.from_pretrained(saved).config == model.config


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_or_damaged_file_is_named(saved: Path, name: str) -> None:
    path = saved / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PretrainedError, match=f"{name}.* save the model again"):
        FLARE.from_pretrained(saved)
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(PretrainedError, match=f"{name}.* save the model again"):
        FLARE.from_pretrained(saved)
    path.unlink()
    with pytest.raises(PretrainedError, match=f"cannot read .*{name}"):
        FLARE.from_pretrained(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3}, "config.json: unknown key 'depth'; save the model with this version"),
        ({"channels": ...}, "config.json: missing key 'channels'"),
        ({"channels": 15}, "num_heads=2 must divide channels=15"),
        ({"channels": "16"}, "channels must be a positive integer"),
        ({"norm": ["layer"]}, "norm must be one of layer, rms"),
        ({"num_blocks": 10**9}, "fewer layers than config.json beside it asks for"),
        ({"projection_layers": 10**9}, "fewer layers"),
        ({"num_blocks": 1}, "unknown tensor 'blocks.1.att.k_proj.fc1.bias'; it does not belong to config"),
        ({"channels": 10**6}, r"has shape \(16,\), config.json beside it asks for \(1000000,\)"),
        ({"channels": 2**40}, "asks for more channels than any machine holds"),
        ({"mixer": "flare++"}, "missing tensor 'blocks.0.att.query_k_proj.fc1.bias'"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(
    saved: Path, changes: dict[str, object], message: str
) -> None:
    edit_config(saved, **changes)
    with pytest.raises(PretrainedError, match=message):
        FLARE.from_pretrained(saved)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"' + "a" * 70_000 + '"', "[" * 5000])
def test_a_configuration_that_is_none_is_named(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(PretrainedError, match=r"config.json is (no|not) "):
        FLARE.from_pretrained(saved)


def test_weights_that_do_not_fit_are_named(saved: Path) -> None:
    edit_weights(saved, lambda weights: weights.update({"in_proj.fc1.bias": torch.zeros(16).half()}))
    with pytest.raises(PretrainedError, match=r"holds torch.float16, torch.float32; expected one"):
        FLARE.from_pretrained(saved)
    edit_weights(saved, lambda weights: weights.pop("in_proj.fc1.bias"))
    with pytest.raises(PretrainedError, match=r"missing tensor 'in_proj.fc1.bias'"):
        FLARE.from_pretrained(saved)
    edit_weights(saved, lambda weights: weights.clear())
    with pytest.raises(PretrainedError, match="fewer layers"):
        FLARE.from_pretrained(saved)
