"""What cannot be drawn, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lpbf_dataset import Case


class SceneError(ValueError):
    """Something cannot be drawn as it is."""


def require_finite(values: NDArray[np.floating], what: str) -> None:
    """Refuse numbers that no colour or place can stand for.

    Raises
    ------
    SceneError
        If a value is infinite or not a number.
    """
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise SceneError(f"{what} cannot be drawn: {bad} of {values.size} values are not finite")


def finite_scalar(case: Case, field: str) -> NDArray[np.float32]:
    """One number per node of a case, (nodes,) float32, as `lpbf_dataset.Case.scalar` gives it.

    Raises
    ------
    KeyError
        If the case has no such field.
    SceneError
        If a number is not finite.
    """
    values = case.scalar(field)
    require_finite(values, f"{field} of case {case.case_id}")
    return values


def finite_displacement(case: Case) -> NDArray[np.float32]:
    """Displacement of a case, (nodes, 3) float32, mm.

    Raises
    ------
    SceneError
        If a number is not finite.
    """
    displacement = np.asarray(case.displacement, np.float32)
    require_finite(displacement, f"displacement of case {case.case_id}")
    return displacement
