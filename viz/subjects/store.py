"""The cases of a store."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lpbf_dataset import StoreError
from lpbf_dataset.schema import SPLITS
from viz.steps import step_labels
from viz.subjects.base import FINAL, SubjectError, part_of_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lpbf_dataset import Case, Dataset
    from viz.subjects.base import Part, Prediction

NOT_DRAWN = ("edges",)


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
        return next(least_seen_first(self.cases))

    def step_labels(self, case_name: str) -> Sequence[str]:
        """Return what the steps of the build are called, where the store holds them, and the final state.

        A step that could not be read is left out, and the next one says so.  A model predicts the final
        state alone.
        """
        with reporting(self.name, case_name):
            return [*(label for _, label in self._steps_before_last(case_name)), FINAL]

    def load(self, case_name: str, step: int) -> Part:
        """Read a case at a step; the last is its final state, with what else is known of its nodes."""
        with reporting(self.name, case_name):
            earlier = list(self._steps_before_last(case_name))
            if step < len(earlier):
                index, label = earlier[step]
                state = self.cases.read(case_name, ()).steps[index]
                return replace(part_of_case(state), step=label)
            # A model may need the edges.
            variables = [name for name in self.cases.variables if self.predict or name not in NOT_DRAWN]
            case = self.cases.read(case_name, variables)
        predict = self.predict
        return part_of_case(case, None if predict is None else lambda: predict(case))

    def build(self, case_name: str) -> Case:
        """Return a case with its steps, where the store holds them."""
        with reporting(self.name, case_name):
            return self.cases.read(case_name, ())

    def _steps_before_last(self, case_name: str) -> Iterator[tuple[int, str]]:
        """Position in the history, and label, of each step that is there but the last, which is final."""
        if self.predict is None and self.cases.has_history:
            table = self.cases.step_table(case_name)
            yield from step_labels(table, range(len(table) - 1))


def least_seen_first(cases: Dataset) -> Iterator[str]:
    """Yield the ids of all cases, those first that a model has seen least of; those of no split last."""
    views = [cases.split(split) for split in reversed(SPLITS)]
    yield from dict.fromkeys(case_id for view in (*views, cases) for case_id in view.case_ids)


@contextmanager
def reporting(subject_name: str, case_name: str) -> Iterator[None]:
    """Turn what a store complains about when it reads a case into a `SubjectError`."""
    try:
        yield
    except KeyError:
        raise SubjectError(f"{subject_name} has no case {case_name!r}") from None
    except StoreError as error:
        raise SubjectError(str(error)) from error
