"""The length unit of a part, stated or guessed from its size."""

from __future__ import annotations

from lpbf_dataset.sources.base import CaseError, FailureReason

UNITS_MM = {"micrometre": 1e-3, "mm": 1.0, "cm": 10.0, "inch": 25.4, "m": 1000.0}
"""Length in mm of the units that may be stated."""

SMALLEST_PART_MM = 1.0
"""Below it a part is taken for one in metres: it would be less than two voxels, and a part in metres up
to a metre long stays below it."""

LARGEST_PART_MM = 2000.0
"""Above it a part is taken for one in micrometres: no powder bed is that large."""


def scale_to_mm(longest_edge: float, unit: str | None, unit_in_file: float | None) -> tuple[float, list[str]]:
    """Factor from the unit of the file to mm.

    Parameters
    ----------
    longest_edge : float
        Of the bounding box, in the unit of the file.
    unit : str or None
        One of `UNITS_MM`, or None to take the unit of the file, or else to guess.
    unit_in_file : float or None
        Length in mm of the unit that the file states, if it does.

    Returns
    -------
    factor : float
        Multiplies coordinates.
    warnings : list of str
        Empty unless the unit was guessed to be other than stated, or than mm.

    Raises
    ------
    ValueError
        If the unit is not known.
    CaseError
        If no unit gives a part that could be printed.
    """
    if unit is not None:
        if unit not in UNITS_MM:
            raise ValueError(f"unit is {unit!r}; give one of {', '.join(UNITS_MM)}")
        return UNITS_MM[unit], []
    factor = 1.0 if unit_in_file is None else unit_in_file
    size = longest_edge * factor
    if SMALLEST_PART_MM <= size <= LARGEST_PART_MM:
        return factor, []
    name, correction = ("metres", 1e3) if size < SMALLEST_PART_MM else ("micrometres", 1e-3)
    if not SMALLEST_PART_MM <= size * correction <= LARGEST_PART_MM:
        raise CaseError(
            FailureReason.IMPLAUSIBLE_SIZE,
            f"is {size:.3g} mm long, which is no part in millimetres, metres or micrometres; state its unit",
        )
    return factor * correction, [
        f"is {size:.3g} mm long, taken to be in {name}: scaled by {correction:g} "
        f"to {size * correction:.4g} mm"
    ]
