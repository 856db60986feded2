"""The cases of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpbf_dataset import StoreError
from lpbf_dataset.schema import SPLITS
from viz.subjects.base import SubjectError, part_of_case

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpbf_dataset import Case, Dataset
    from viz.subjects.base import Part, Prediction

_NOT_DRAWN = ("edges",)


@dataclass(frozen=True)
class StoreSubject:
    """Cases of a store, beside what a model makes of them where there is one.

    Parameters
    ----------
    name : str
        What a user calls the store, or the run.
    cases : Dataset
        The store.
    predicted : tuple of str
        Scalars that `predict` returns.
    predict : callable, optional
        Predicts scalars on a case.

    Raises
    ------
    SubjectError
        If the store is empty.
    """

    name: str
    cases: Dataset
    predicted: tuple[str, ...] = ()
    predict: Callable[[Case], Prediction] | None = None

    def __post_init__(self) -> None:
        if not len(self.cases):
            raise SubjectError(f"{self.name} holds no case")

    @property
    def case_names(self) -> Sequence[str]:
        """Case ids."""
        return self.cases.case_ids

    @property
    def first_case(self) -> str:
        """The first; of a model, the first that it has seen least of."""
        if self.predict is None:
            return self.cases.case_ids[0]
        views = (self.cases.split(split) for split in reversed(SPLITS))
        return next((view for view in views if len(view)), self.cases).case_ids[0]

    def step_labels(self, case_name: str) -> Sequence[str]:  # noqa: ARG002  (of the protocol)
        """Return the final state alone: a store holds no other."""
        return ("final",)

    def load(self, case_name: str, step: int) -> Part:  # noqa: ARG002
        """Read a case."""
        # A model may need the edges.
        variables = [name for name in self.cases.variables if self.predict or name not in _NOT_DRAWN]
        try:
            case = self.cases.read(case_name, variables)
        except KeyError:
            raise SubjectError(f"{self.name} has no case {case_name!r}") from None
        except StoreError as error:
            raise SubjectError(str(error)) from error
        predict = self.predict
        return part_of_case(case, None if predict is None else lambda: predict(case))
