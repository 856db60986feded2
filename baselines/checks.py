"""What the configurations of all models check."""

from __future__ import annotations


def check_sizes(config: object, *names: str) -> None:
    """Raise ValueError unless the fields of these names are positive integers."""
    for name in names:
        value = getattr(config, name)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")


def check_heads(channels: int, num_heads: int) -> None:
    """Raise ValueError unless the heads share the channels equally."""
    if channels % num_heads:
        raise ValueError(f"channels must be a multiple of num_heads, but {channels} is none of {num_heads}")
