"""Which cases are kept: bounds on their statistics."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import yaml  # type: ignore[import-untyped]

from lpbf_dataset.schema import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FACTORS = (0.5, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)
"""Multiples of a bound for which `sensitivity` tells how many cases would be kept."""

_RULE_SETS = files("lpbf_dataset.curation") / "rule_sets"


class RulesError(ValueError):
    """A rule, or a file of rules, makes no sense."""


@dataclass(frozen=True)
class Rule:
    """A case is kept if one of its statistics lies between two bounds, both included.

    Parameters
    ----------
    statistic : str
        Name in `lpbf_dataset.schema.STATISTICS`.
    minimum, maximum : float
        Smallest and largest value kept, in the statistic's unit.

    Raises
    ------
    RulesError
        If there is no such statistic, or no value or every value lies between the bounds.
    """

    statistic: str
    minimum: float = -np.inf
    maximum: float = np.inf

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            close = get_close_matches(self.statistic, STATISTICS, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise RulesError(
                f"no statistic named {self.statistic!r}; {hint}there are {', '.join(STATISTICS)}"
            )
        if not self.minimum <= self.maximum:
            raise RulesError(f"no {self.statistic} is between {self.minimum:g} and {self.maximum:g}")
        if self.minimum == -np.inf and self.maximum == np.inf:
            raise RulesError(f"the rule on {self.statistic} has no bound; give min, max or both")

    def keeps(self, statistics: Mapping[str, float | int]) -> bool:
        """Tell whether a case passes.  A statistic that is not known (NaN, or a count of -1) does not."""
        value = statistics[self.statistic]
        return bool(_is_known(self.statistic, value)) and self.minimum <= value <= self.maximum

    def passes(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Tell for every row of a table of statistics whether it passes, (n,) bool."""
        return _between(table, self.statistic, self.minimum, self.maximum)

    def __str__(self) -> str:
        lower = f"{self.minimum:g} <= " if self.minimum > -np.inf else ""
        upper = f" <= {self.maximum:g}" if self.maximum < np.inf else ""
        return f"{lower}{self.statistic}{upper}"


class Violation(NamedTuple):
    """Why a case is not kept.

    Parameters
    ----------
    rule : Rule
        The rule it breaks.
    value : float or int
        Its statistic, in the unit of the statistic.
    """

    rule: Rule
    value: float | int

    def __str__(self) -> str:
        if not _is_known(self.rule.statistic, self.value):
            return f"{self.rule} (is not known)"
        # Rounded, a value just beyond the bound would read as if it were not.
        rounded = f"{self.value:.4g}"
        if self.rule.keeps({self.rule.statistic: float(rounded)}) or isinstance(self.value, int):
            rounded = str(self.value)
        units = STATISTICS[self.rule.statistic].units
        return f"{self.rule} (is {rounded}{'' if units == '1' else f' {units}'})"


def load_rules(name: str) -> tuple[Rule, ...]:
    """Load a packaged set of rules, or one from a file.

    A file is YAML: a mapping of statistics to their largest value, or to a mapping with ``min``, ``max``
    or both.  Rules are applied in its order.

    Parameters
    ----------
    name : str
        "published" (the selection of the published set), "two_sided" (besides it, a lower bound on the
        displacement), "none", or the path of a file.

    Returns
    -------
    tuple of Rule

    Raises
    ------
    RulesError
        If there is no such set or file, or it does not hold rules.
    """
    packaged = sorted(entry.name.removesuffix(".yaml") for entry in _RULE_SETS.iterdir())
    file = _RULE_SETS / f"{name}.yaml" if name in packaged else Path(name)
    if not file.is_file():
        raise RulesError(f"no rules {name!r}; give {', '.join(packaged)} or the path of a YAML file")
    try:
        bounds = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RulesError(f"{name}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(bounds, dict):
        raise RulesError(f"{name}: expected statistics and their bounds, such as 'max_z: 60'")
    try:
        return tuple(_rule(str(statistic), bound) for statistic, bound in bounds.items())
    except RulesError as error:
        raise RulesError(f"{name}: {error}") from None


def _rule(statistic: str, bound: object) -> Rule:
    if not isinstance(bound, dict):
        return Rule(statistic, maximum=_number(statistic, bound))
    if unknown := [str(key) for key in bound if key not in {"min", "max"}]:
        raise RulesError(f"{statistic} has no bound {unknown[0]!r}; give min, max or both")
    minimum, maximum = bound.get("min", -np.inf), bound.get("max", np.inf)
    return Rule(statistic, _number(f"min of {statistic}", minimum), _number(f"max of {statistic}", maximum))


def _number(name: str, value: object) -> float:
    # YAML reads 1e6 as text: its numbers need a point.
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        pass
    raise RulesError(f"{name} must be a number, not {value!r:.60}")


def _is_known(statistic: str, value: float | NDArray[np.number]) -> NDArray[np.bool_]:
    """Tell whether a statistic, or each of an array of them, is not the mark of a missing one."""
    counts = STATISTICS[statistic].dtype == "int64"
    return np.greater_equal(value, 0) if counts else np.logical_not(np.isnan(value))


def _between(table: pd.DataFrame, statistic: str, minimum: float, maximum: float) -> NDArray[np.bool_]:
    values = table[statistic].to_numpy("float64")
    return _is_known(statistic, values) & (minimum <= values) & (values <= maximum)


def first_violation(statistics: Mapping[str, float | int], rules: Sequence[Rule]) -> Violation | None:
    """First rule, in order, that rejects a case; None for a case to keep.

    Parameters
    ----------
    statistics : mapping of str to float or int
        Statistics of the case.
    rules : sequence of Rule
        Rules to apply.
    """
    broken = (rule for rule in rules if not rule.keeps(statistics))
    return next((Violation(rule, statistics[rule.statistic]) for rule in broken), None)


def evaluate(table: pd.DataFrame, rules: Sequence[Rule]) -> pd.Series[str]:
    """First rule, in order, that rejects each of many cases.

    Parameters
    ----------
    table : DataFrame
        A row per case, a column per statistic.
    rules : sequence of Rule
        Rules to apply.

    Returns
    -------
    Series of str
        The rule as text, such as ``"max_displacement_z <= 1"``, with the index of `table`; empty for a
        case to keep.
    """
    violations = pd.Series("", index=table.index, dtype=object, name="rule")
    for rule in reversed(rules):
        violations[~rule.passes(table)] = str(rule)
    return violations


def sensitivity(
    table: pd.DataFrame, rules: Sequence[Rule], factors: Sequence[float] = FACTORS
) -> pd.DataFrame:
    """How many cases would be kept with another bound, or without a rule.

    Parameters
    ----------
    table : DataFrame
        A row per case, a column per statistic.
    rules : sequence of Rule
        Rules to apply.
    factors : sequence of float
        What each bound is multiplied by.

    Returns
    -------
    DataFrame
        A row for each rule, bound and factor: ``rule`` as text; ``bound``, "minimum", "maximum" or, for
        the whole rule left out, "none"; ``factor`` (NaN for "none") and ``value``, the bound times the
        factor (NaN for "none"); ``kept``, the number of cases then kept; and ``change``, by how many
        that differs from `rules` as they are.  The change without a rule is the number of cases that
        this rule alone rejects.
    """
    passes = np.array([rule.passes(table) for rule in rules], dtype=bool).reshape(len(rules), len(table))
    rows: list[tuple[str, str, float, float, int]] = []
    for i, rule in enumerate(rules):
        others = np.delete(passes, i, axis=0).all(axis=0)
        rows.append((str(rule), "none", np.nan, np.nan, int(others.sum())))
        for bound, value in (("minimum", rule.minimum), ("maximum", rule.maximum)):
            for factor in factors if np.isfinite(value) else ():
                limits = {"minimum": rule.minimum, "maximum": rule.maximum, bound: factor * value}
                kept = others & _between(table, rule.statistic, **limits)
                rows.append((str(rule), bound, factor, factor * value, int(kept.sum())))
    result = pd.DataFrame(rows, columns=["rule", "bound", "factor", "value", "kept"])
    return result.assign(change=result["kept"] - int(passes.all(axis=0).sum()))
