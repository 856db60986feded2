"""The builds of a store beside what a model makes of them, step by step."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from lpbf_dataset import StoreError
from viz.steps import step_labels
from viz.subjects.base import SubjectError, part_of_case
from viz.subjects.store import NOT_DRAWN, least_seen_first, reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lpbf_dataset import Case, Dataset
    from lpbf_dataset.step_table import StepTable
    from viz.subjects.base import Part, Prediction

_CASES_KEPT = 8
"""Whose predictions stay in memory: some 10 MB each."""


class BuildSubject:
    """Cases of a store with history, at the steps that a model knows, each beside what is predicted then.

    Parameters
    ----------
    name : str
        What a user calls the run.
    cases : Dataset
        The store.
    predicted : tuple of str
        Scalars that are predicted.
    known_steps : callable
        Chooses from a history the positions of the steps that are predicted.
    roll_out : callable
        Predicts these steps of a case, which has all variables but the edges, one after another.  What it
        has predicted is kept, so that no step is computed twice while one looks at its case.

    Raises
    ------
    SubjectError
        If no case has steps.
    """

    def __init__(
        self,
        name: str,
        cases: Dataset,
        predicted: tuple[str, ...],
        known_steps: Callable[[StepTable], Sequence[int]],
        roll_out: Callable[[Case], Iterator[Prediction]],
    ) -> None:
        self.name = name
        self.cases = cases
        self.predicted = predicted
        self._known_steps = known_steps
        self._roll_out = roll_out
        self._kept = lru_cache(maxsize=_CASES_KEPT)(self._begin)
        chosen = (case for case in least_seen_first(cases) if self._labelled(case))
        if not (first := next(chosen, "")):
            raise SubjectError(f"no case of {name} has steps; build its store with lpbf-build --steps all")
        self.first_case = first

    @property
    def case_names(self) -> Sequence[str]:
        """Case ids."""
        return self.cases.case_ids

    def step_labels(self, case_name: str) -> Sequence[str]:
        """Return what the steps are called that are predicted."""
        return [label for _, label in self._steps(case_name)]

    def load(self, case_name: str, step: int) -> Part:
        """Read a case at a step; what was predicted up to then is computed when it is asked for."""
        position, label = self._steps(case_name)[step]
        with reporting(self.name, case_name):
            part = part_of_case(self.build(case_name).steps[position])
        return replace(part, step=label, predict=lambda: self.predict(case_name, step))

    def build(self, case_name: str) -> Case:
        """Return a case with all of its steps."""
        with reporting(self.name, case_name):
            return self.cases.read(case_name, ())

    def predict(self, case_name: str, step: int) -> Prediction:
        """Predict a step, rolled out from nothing.

        Parameters
        ----------
        case_name : str
            The case.
        step : int
            Position in `step_labels`.

        Returns
        -------
        mapping of str to (n,) ndarray
            What is `predicted`, by name.

        Raises
        ------
        SubjectError
            If the model or the store fails.
        """
        try:
            return self._kept(case_name).at(step)
        except (StoreError, SubjectError) as error:
            # What failed half-way has no more to give.
            self._kept.cache_clear()
            raise SubjectError(str(error)) from error

    def predictions(self, case_name: str) -> Iterator[tuple[int, Prediction]]:
        """Yield the position in the history and the prediction of each step that is predicted."""
        for step, (position, _) in enumerate(self._steps(case_name)):
            yield position, self.predict(case_name, step)

    def _steps(self, case_name: str) -> list[tuple[int, str]]:
        with reporting(self.name, case_name):
            steps = self._labelled(case_name)
        if not steps:
            raise SubjectError(f"case {case_name} has no step that {self.name} predicts")
        return steps

    def _labelled(self, case_name: str) -> list[tuple[int, str]]:
        """Position in the history, and label, of each step that is predicted."""
        table = self.cases.step_table(case_name)
        known = self._known_steps(table)
        # From the first on, so that missing ones are told.
        return [
            (position, label)
            for position, label in step_labels(table, range(max(known, default=-1) + 1))
            if position in known
        ]

    def _begin(self, case_name: str) -> _RollOut:
        variables = [name for name in self.cases.variables if name not in NOT_DRAWN]
        return _RollOut(self._roll_out(self.cases.read(case_name, variables)))


class _RollOut:
    """Predictions of the steps of a case, each computed when it is first asked for."""

    def __init__(self, coming: Iterator[Prediction]) -> None:
        self._coming = coming
        self._known: list[Prediction] = []

    def at(self, step: int) -> Prediction:
        while len(self._known) <= step:
            self._known.append(next(self._coming))
        return self._known[step]
