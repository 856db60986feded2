"""Drawing the dimensions of a part, so that the bodies of one design resemble each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

VARIANT_REACH = 0.25
"""How far a variant moves a dimension from its parent's, at most, as a fraction of the range."""

Parameter: TypeAlias = float | int | str | bool


class Draw:
    """Draws named parameters and remembers them.

    What makes up the design (its kind, counts, features) is the same for all of its bodies.
    Dimensions differ from body to body, yet never leave the range that the family allows.

    Parameters
    ----------
    design : numpy.random.Generator
        Stream of the design, in the same state for each of its bodies.
    variant : numpy.random.Generator or None
        Stream of the body; None for the parent itself.
    """

    def __init__(self, design: np.random.Generator, variant: np.random.Generator | None = None) -> None:
        self._design = design
        self._variant = variant
        self.parameters: dict[str, Parameter] = {}

    def dimension(self, name: str, low: float, high: float) -> float:
        """Length in mm or angle in degrees between two limits."""
        place = self._design.random()
        if self._variant is not None:
            place += VARIANT_REACH * self._variant.uniform(-1, 1)
        value = low + (high - low) * min(max(place, 0.0), 1.0)
        self.parameters[name] = value
        return value

    def count(self, name: str, low: int, high: int) -> int:
        """Whole number between two limits, both included; the same for all bodies of a design."""
        value = int(self._design.integers(low, high, endpoint=True))
        self.parameters[name] = value
        return value

    def choice(self, name: str, *options: str) -> str:
        """One of several kinds; the same for all bodies of a design."""
        value = options[int(self._design.integers(len(options)))]
        self.parameters[name] = value
        return value

    def has(self, name: str) -> bool:
        """Whether the design has a feature, which every second one does."""
        value = bool(self._design.random() < 0.5)
        self.parameters[name] = value
        return value
