"""The steps of simulated cases, as the solver left them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lpbf_dataset.case import Case
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.steps import case_steps, part_at_step
from viz.subjects.base import Part, SubjectError, known_field
from viz.warp import hexahedra

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    from lpbf_dataset.sources.base import RawCase, Step


class ResultsSubject:
    """Results in the layout of Netfabb, which ``lpbf-simulate`` writes too: each case over the build.

    Parameters
    ----------
    path : path
        Folder or archive.
    plate : bool, optional
        Whether the build plate is seen until the part comes off it.

    Raises
    ------
    SourceError
        If it holds no results.
    """

    predicted: tuple[str, ...] = ()

    def __init__(self, path: str | PathLike[str], *, plate: bool = True) -> None:
        self.plate = plate
        self.name = str(path)
        self._cases: dict[str, RawCase] = {case.case_id: case for case in NetfabbSource(Path(path)).cases()}
        # The fields of all steps of one case are some 100 MB.
        self._steps = lru_cache(maxsize=1)(self._read_steps)

    @property
    def case_names(self) -> Sequence[str]:
        """Case ids."""
        return tuple(self._cases)

    @property
    def first_case(self) -> str:
        """The first."""
        return next(iter(self._cases))

    def step_labels(self, case_name: str) -> Sequence[str]:
        """Return number, kind and time of each step."""
        return [f"step {step.number}, {step.kind}, {step.time:.4g} s" for step in self._steps(case_name)]

    def load(self, case_name: str, step: int) -> Part:
        """Read a case at a step."""
        chosen = self._steps(case_name)[step]
        if not self.plate:
            chosen = part_at_step(chosen)
        return Part(
            f"case {case_name} ({self.step_labels(case_name)[step]})",
            hexahedra(chosen),
            tuple(map(known_field, chosen.fields)),
            chosen.fields,
        )

    def build(self, case_name: str) -> Case:
        """Read a case with its steps, without the plate."""
        with self._reporting(case_name):
            raw = self._cases[case_name]
            return Case(raw.case_id, raw.design_id, raw.source, {}, steps=tuple(case_steps(raw)))

    def _read_steps(self, case_name: str) -> Sequence[Step]:
        with self._reporting(case_name):
            return self._cases[case_name].steps()

    @contextmanager
    def _reporting(self, case_name: str) -> Iterator[None]:
        """Turn what the results lack into a `SubjectError`."""
        try:
            yield
        except KeyError:
            raise SubjectError(f"{self.name} has no case {case_name!r}") from None
        except CaseError as error:
            raise SubjectError(f"case {case_name} cannot be read: {error.detail}") from error
