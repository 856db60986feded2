import dataclasses

import pytest

from flare import FLAREConfig, FLAREPlusPlusConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"in_channels": 0},
        {"out_channels": -1},
        {"num_blocks": 0},
        {"num_latents": 1.5},
        {"num_heads": True},
        {"channels": "64"},
    ],
)
def test_rejects_what_is_no_positive_integer(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be a positive integer"):
        FLAREConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def test_heads_divide_channels() -> None:
    with pytest.raises(ValueError, match="num_heads=7 must divide channels=64"):
        FLAREConfig(in_channels=3, out_channels=1, num_heads=7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mixer": "flair"}, "mixer must be one of flare, flare[+][+], flare[+][+]gated, not 'flair'"),
        ({"norm": None}, "norm must be one of layer, rms, not None"),
        ({"activation": "relu"}, "activation must be one of gelu, silu"),
        ({"feed_forward": "moe"}, "feed_forward must be one of residual, geglu, swiglu"),
        ({"attention_scale": 1.0}, "attention_scale must be one of auto, one, inverse_sqrt"),
        ({"projection_layers": -2}, "projection_layers must be an integer of at least -1"),
        ({"in_out_layers": -1}, "in_out_layers must be an integer of at least 0"),
        ({"latent_blocks": True}, "latent_blocks must be an integer of at least 0"),
        ({"projection_ratio": 0}, "projection_ratio must be a positive number"),
        ({"feed_forward_ratio": float("nan")}, "feed_forward_ratio must be a positive number"),
        ({"qk_norm": 1}, "qk_norm must be true or false"),
        ({"route": "fast"}, "no route named 'fast'; there are auto, plain"),
        ({"qk_norm": True, "mixer": "flare++gated"}, "flare[+][+]gated has norms of its own"),
        ({"route": None}, "route must be a name"),
    ],
)
def test_rejects_what_is_no_option(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FLAREConfig(**{"in_channels": 3, "out_channels": 1, **wrong})  # type: ignore[arg-type]


def test_scores_are_scaled_as_published() -> None:
    assert FLAREConfig(3, 1).score_scale == 1.0
    assert FLAREPlusPlusConfig(3, 1).score_scale == pytest.approx(8**-0.5)
    assert FLAREPlusPlusConfig(3, 1, attention_scale="one").score_scale == 1.0
    assert FLAREConfig(3, 1, mixer="flare++gated").score_scale == pytest.approx(8**-0.5)


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FLAREConfig(in_channels=3, out_channels=1).channels = 32  # type: ignore[misc]
