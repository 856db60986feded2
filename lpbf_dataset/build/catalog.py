"""The table of every case found: kept, rejected by which rule, or failed for what reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lpbf_dataset.build.extraction import CaseRecord
from lpbf_dataset.build.history import faults
from lpbf_dataset.build.identity import as_text
from lpbf_dataset.curation.rules import first_violation
from lpbf_dataset.schema import STATISTICS
from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lpbf_dataset.build.identity import CaseIdentity
    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.schema import Split

TEXTS = (
    "case_id",
    "design_id",
    "source",
    "location",
    "content_hash",
    "status",
    "split",
    "reason",
    "rule",
    "failure",
)
"""Text columns: ``rule`` names the rule that rejected the case, ``failure`` why it could not be used, and
``reason`` tells either in words, or which steps of
a case that was kept are missing.  A case without ``content_hash`` could not be read: its statistics are not
known."""

NOT_STORED = CaseError(
    FailureReason.NOT_STORED,
    "these rules keep it, but the store it comes from holds no data of it, as the rules there rejected it: "
    "build from the results again, lpbf-build RESULTS... -o STORE",
)
"""What becomes of a case that the rules keep but whose arrays are gone."""

_REMARKS = {str(FailureReason.NOT_STORED): " (the rules would keep them: build from the results again)"}


def make_catalog(
    outcomes: Sequence[tuple[CaseIdentity, CaseRecord | CaseError]], rules: Sequence[Rule]
) -> pd.DataFrame:
    """Tabulate what became of each case.

    Parameters
    ----------
    outcomes : sequence of (CaseIdentity, CaseRecord or CaseError)
        Every case found.
    rules : sequence of Rule
        In order; the first that a case violates rejects it.

    Returns
    -------
    DataFrame
        One row per case, by case id: the text columns `TEXTS`, ``value`` (of the statistic that a rule
        bounds, NaN where none rejected the case) and the statistics.  ``split`` is empty.
    """
    rows = [_row(identity, outcome, rules) for identity, outcome in outcomes]
    catalog = pd.DataFrame(rows, columns=[*TEXTS, "value", *STATISTICS])
    catalog = catalog.astype({"value": float, **{name: s.dtype for name, s in STATISTICS.items()}})
    return catalog.sort_values(["case_id", "location", "reason"], ignore_index=True)


def _row(identity: CaseIdentity, outcome: CaseRecord | CaseError, rules: Sequence[Rule]) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(TEXTS, "") | asdict(identity) | {"value": np.nan}
    if not isinstance(outcome, CaseRecord):
        unknown = {name: np.nan if s.dtype == "float64" else -1 for name, s in STATISTICS.items()}
        return row | unknown | _failed(outcome)
    row |= {"content_hash": outcome.content_hash, **outcome.statistics}
    if violation := first_violation(outcome.statistics, rules):
        rule, value = violation
        return row | {"status": "rejected", "rule": str(rule), "value": value, "reason": str(violation)}
    return row | (_failed(NOT_STORED) if outcome.rows is None else _kept(outcome))


def _kept(record: CaseRecord) -> dict[str, str]:
    return {"status": "kept", "reason": "; ".join(faults(record.history)) if record.history else ""}


def _failed(error: CaseError) -> dict[str, str]:
    return {"status": "failed", "failure": str(error.reason), "reason": as_text(str(error))}


def with_splits(catalog: pd.DataFrame, splits: Mapping[str, Split]) -> pd.DataFrame:
    """Fill in the split of each case that was kept."""
    kept = catalog["status"] == "kept"
    return catalog.assign(split=catalog["case_id"].map(splits).where(kept, "").fillna(""))


def summary(catalog: pd.DataFrame) -> list[str]:
    """Lines on how many cases were kept, rejected by which rule, and failed for what reason."""
    status = Counter(catalog["status"])
    lines = [f"kept {status['kept']} of {len(catalog)} cases, {status['failed']} failed"]
    for column, verb in (("rule", "rejected by"), ("failure", "failed:")):
        counts = Counter(value for value in catalog[column] if value)
        lines += [
            f"  {count} {verb} {value}{_REMARKS.get(value, '')}" for value, count in counts.most_common()
        ]
    return lines
