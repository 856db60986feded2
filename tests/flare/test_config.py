import dataclasses

import pytest

from flare import FLAREConfig


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


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FLAREConfig(in_channels=3, out_channels=1).channels = 32  # type: ignore[misc]
