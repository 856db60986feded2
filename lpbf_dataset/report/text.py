"""Numbers and units as people read them."""

from __future__ import annotations

import math

from lpbf_dataset.schema import STATISTICS

NARROW_SPACE = "\u202f"
_UNITS = {"1": "", "mm2": "mm²", "mm3": "mm³", "degC": "°C", "percent": "%"}


def number(value: float) -> str:
    """Write a number with four significant digits, or all those before the point; "" for NaN.

    Thousands are set apart by narrow spaces (ISO 80000-1, 7.3.1).

    >>> number(1390), number(0.29512)
    ('1\u202f390', '0.2951')
    """
    if math.isnan(value):
        return ""
    if abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}".replace(",", NARROW_SPACE)
    return f"{value:.4g}"


def percent(share: float) -> str:
    """Write a share of one as a percentage; "" for NaN."""
    return "" if math.isnan(share) else f"{share:.1%}".replace("%", f"{NARROW_SPACE}%")


def unit(udunits: str) -> str:
    """Symbol of a unit in UDUNITS spelling; "" for a dimensionless quantity."""
    return _UNITS.get(udunits, udunits)


def quantity(value: float, statistic: str) -> str:
    """Write the value of a statistic with its unit."""
    return f"{number(value)}{NARROW_SPACE}{unit(STATISTICS[statistic].units)}".strip()


def label(statistic: str) -> str:
    """Say what a statistic is."""
    # After a semicolon, the schema tells how a missing value is stored.
    return STATISTICS[statistic].long_name.partition(";")[0]


def label_with_unit(statistic: str) -> str:
    """Say what a statistic is, with its unit in brackets."""
    return with_unit(label(statistic), STATISTICS[statistic].units)


def with_unit(text: str, udunits: str) -> str:
    """Add a unit, in UDUNITS spelling, in brackets; nothing for a dimensionless quantity."""
    symbol = unit(udunits)
    return text + (f" [{symbol}]" if symbol else "")
