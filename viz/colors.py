"""What colours and ranges fields are drawn in.

Signed fields get a diverging map around zero and symmetric limits, so that hue tells the sign and
no shift of the range can hide it.  ``coolwarm`` was made for shaded surfaces (K. Moreland,
"Diverging Color Maps for Scientific Visualization", ISVC 2009): its middle is a grey that stands
out from a white page, and its ends are bright enough to show shape.  Errors get other hues, so that
they are not mistaken for the field.  ``viridis`` is perceptually uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpbf_dataset.schema import resolve_scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNED_MAP = "coolwarm"
UNSIGNED_MAP = "viridis"
ERROR_MAP = "PuOr_r"


@dataclass(frozen=True)
class ColorScale:
    """How numbers become colours.

    Parameters
    ----------
    cmap : str
        Name of a matplotlib colour map.
    limits : (float, float)
        Values of its two ends, in the units of the field; the first is the smaller.
    """

    cmap: str
    limits: tuple[float, float]


def field_scale(name: str, *values: NDArray[np.floating]) -> ColorScale:
    """One scale for all the given values of a field.

    Parameters
    ----------
    name : str
        Scalar field, as `lpbf_dataset.Case.scalar` takes it.
    *values : (n,) float ndarray
        In the units of the field, all finite; for example truth and prediction.

    Returns
    -------
    ColorScale
        Diverging for a component of a vector or tensor, and for anything with negative values.
        Otherwise it starts at zero, unless the values lie close together far from it.
    """
    _, component = resolve_scalar(name)
    return value_scale(*values, signed=component is not None)


def value_scale(*values: NDArray[np.floating], signed: bool) -> ColorScale:
    """One scale for all the given values, as `field_scale` makes it.

    Parameters
    ----------
    *values : (n,) float ndarray
        All finite.
    signed : bool
        Whether there are two directions: diverging even where no value is negative.
    """
    low = min(float(array.min()) for array in values)
    high = max(float(array.max()) for array in values)
    if signed or low < 0.0:
        return _symmetric(SIGNED_MAP, max(-low, high))
    if low == high:
        return ColorScale(UNSIGNED_MAP, (low, low + 1.0))
    return ColorScale(UNSIGNED_MAP, (low, high) if 2.0 * low > high else (0.0, round_up(high)))


def error_scale(error: NDArray[np.floating]) -> ColorScale:
    """Scale of a difference, symmetric about zero.

    Parameters
    ----------
    error : (n,) float ndarray
        Prediction minus truth, all finite.

    Returns
    -------
    ColorScale
        Up to the largest error; up to one unit where there is none at all.
    """
    return _symmetric(ERROR_MAP, float(np.abs(error).max()))


def deviation_scale(*deviations: NDArray[np.floating]) -> ColorScale:
    """One scale for signed distances from a shape, symmetric about zero.

    Parameters
    ----------
    *deviations : (n,) float ndarray
        mm, all finite.

    Returns
    -------
    ColorScale
        Up to the largest of all; up to one millimetre where there is none.
    """
    return _symmetric(SIGNED_MAP, max(float(np.abs(deviation).max()) for deviation in deviations))


def _symmetric(cmap: str, largest: float) -> ColorScale:
    limit = round_up(largest) if largest > 0.0 else 1.0
    return ColorScale(cmap, (-limit, limit))


def round_up(value: float) -> float:
    """Smallest number of two significant digits that reaches a positive value: 0.0849 to 0.085.

    "Reaches" to the precision of float32, so that the float32 nearest to 0.4 does not become 0.41.
    """
    exponent = math.floor(math.log10(value)) - 1
    # Powers of ten below one are not exact in binary: divide by their inverses.
    scale = 10.0**-exponent
    return math.ceil(value * scale * (1.0 - np.finfo(np.float32).eps)) / scale
