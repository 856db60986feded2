"""What a store holds of the builds of its cases: how many steps, of which kinds, and which are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pandas as pd

from lpbf_dataset.schema import STEP_KINDS
from lpbf_dataset.store.rounding import describe_rounding

if TYPE_CHECKING:
    from lpbf_dataset.store.dataset import Dataset

STEPS_FILE = "steps.parquet"
"""Name of the table of all steps, beside the store."""

_NAMED = 3
"""Cases with missing steps that one line names; more are counted."""


@dataclass(frozen=True, eq=False)
class Histories:
    """The histories of the cases of a store, in short.

    Parameters
    ----------
    steps : DataFrame
        One row a step, as `lpbf_dataset.store.dataset.Dataset.step_frame` gives them.
    cases : int
        Cases in the store, those without a history among them.
    fields : tuple of str
        Simulated fields of each step, by the names of `lpbf_dataset.schema.VARIABLES`.
    bits : int, optional
        Bits to which these are rounded, see `lpbf_dataset.store.rounding`; None if they are not.
    """

    steps: pd.DataFrame
    cases: int
    fields: tuple[str, ...]
    bits: int | None = None

    @classmethod
    def of_store(cls, store: Dataset) -> Self | None:
        """Read the tables of a store; None for one of final states alone."""
        if not store.has_history:
            return None
        return cls(store.step_frame(), len(store), store.history_fields, store.history_bits)

    @property
    def kinds(self) -> pd.DataFrame:
        """Number of ``steps``, and of those of them that are ``missing``, by kind in order of the build."""
        is_missing = self.steps["step_fault"] != ""
        table = pd.DataFrame({"steps": 1, "missing": is_missing.astype(int)})
        counts = table.groupby(self.steps["step_kind"]).sum()
        return counts.reindex([kind for kind in STEP_KINDS if kind in counts.index])

    @property
    def missing(self) -> pd.DataFrame:
        """Rows of the steps that are missing."""
        return self.steps[self.steps["step_fault"] != ""]

    @property
    def lengths(self) -> pd.Series[int]:
        """Number of steps of each case that has a history, missing ones included, by case id."""
        return self.steps.groupby("case_id", sort=False).size()

    @property
    def rounding(self) -> str:
        """Sentences on fields that are stored less exactly than they were computed; "" if none is."""
        if self.bits is None:
            return ""
        return (
            f"Their fields (history_displacement and so on) are {describe_rounding(self.bits)}; their "
            "attributes say so by the CF conventions 1.12, section 8.4. Meshes and final states are stored "
            "as they were computed."
        )

    def __str__(self) -> str:
        lengths, missing = self.lengths, self.missing
        kinds = ", ".join(f"{row.steps} {kind}" for kind, row in self.kinds.iterrows())
        line = (
            f"{len(self.steps)} steps of {len(lengths)} of {_plural(self.cases, 'case')} "
            f"(mean {lengths.mean():.4g}, most {lengths.max()} a case): {kinds}"
        )
        if not missing.empty:
            cases = missing["case_id"].unique()
            where = ", ".join(cases) if len(cases) <= _NAMED else f"{len(cases)} cases, first {cases[0]}"
            line += f"; {len(missing)} missing, of {where}"
        return line if self.bits is None else f"{line}; fields {describe_rounding(self.bits)}"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
