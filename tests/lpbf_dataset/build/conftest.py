"""Sources of made-up cases that count how often they are read, and builds of them."""

from __future__ import annotations

import hashlib
import multiprocessing
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lpbf_dataset.build import BuildOptions, BuildResult, build_store
from lpbf_dataset.build import documents as documents_module
from lpbf_dataset.sources.base import CaseError, DamagedStep, FailureReason, Step, Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.context import BaseContext
    from pathlib import Path

    from lpbf_dataset.schema import StepKind


@dataclass(frozen=True)
class FakeCase:
    """A bar of cells along x whose stress is chosen by the test.

    What it is read into follows from what is hashed.  Each reading adds a line to ``log``.
    """

    case_id: str
    stress: float = 100.0
    length: int = 1
    design_id: str = "design"
    location: str = "memory"
    source: str = "fake"
    error: CaseError | None = None
    without: tuple[str, ...] = ()
    part: Surface | None = None
    log: Path | None = None
    damaged: int | None = None
    """Position of a step of the history that cannot be read."""

    def content_hash(self) -> str:
        return hashlib.sha256(f"{self.stress} {self.length}".encode()).hexdigest()

    def field_names(self) -> tuple[str, ...]:
        if self.error:
            raise self.error
        names = ("displacement", "von_mises_stress", "temperature", "cauchy_stress", "elastic_strain")
        return tuple(name for name in names if name not in self.without)

    def final_step(self, fields: Sequence[str] | None = None) -> Step:
        if self.log:
            with self.log.open("a") as log:
                log.write(f"{self.case_id}\n")
        return self._state(8, "removed", self.length, fields)

    def history(self, fields: Sequence[str] | None = None) -> Iterator[Step | DamagedStep]:
        kinds: list[StepKind] = ["deposited", "dwelt", "deposited", "dwelt", "cooled", "removed"]
        for index, kind in enumerate(kinds):
            if index == self.damaged:
                error = CaseError(FailureReason.TRUNCATED_FILE, "a.dis.ens ends early")
                yield DamagedStep(index + 3, kind, 10.0 * index, error)
            else:
                length = self.length if index > 1 else 1
                yield replace(self._state(index + 3, kind, length, fields), time=10.0 * index)

    def _state(self, number: int, kind: StepKind, length: int, fields: Sequence[str] | None) -> Step:
        layers = np.array([(0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1)], np.float32)
        points = np.concatenate([layers + np.float32([x, 0, 0]) for x in range(length + 1)])
        first = np.array([0, 4, 5, 1, 3, 7, 6, 2], np.int32)
        cells = np.stack([first + 4 * x for x in range(length)]).astype(np.int32)
        count = len(points)
        values = {
            "displacement": 0.01 * points,
            "von_mises_stress": np.full(count, self.stress, np.float32),
            "temperature": np.full(count, 25, np.float32),
            "cauchy_stress": np.zeros((count, 6), np.float32),
            "elastic_strain": np.zeros((count, 6), np.float32),
        }
        names = [name for name in self.field_names() if fields is None or name in fields]
        return Step(number, kind, 1.0, points, cells, {name: values[name] for name in names})

    def steps(self, fields: Sequence[str] | None = None) -> list[Step]:
        return [self.final_step(fields)]

    def surface(self) -> Surface | None:
        return self.part


@dataclass(frozen=True)
class FakeSource:
    """Yields what it was given."""

    found: Sequence[Any]

    def cases(self) -> Iterator[Any]:
        return iter(self.found)


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the report, whose figures take a second, except where it is what is tested."""
    if "with_report" not in request.fixturenames:
        monkeypatch.setattr(documents_module, "report_html", lambda *_: "<!DOCTYPE html>\n")


@pytest.fixture
def with_report() -> None:
    """Write the whole report."""


@pytest.fixture(scope="session")
def forkserver() -> BaseContext:
    """Return what starts processes by forking one that has imported all and used nothing."""
    context = multiprocessing.get_context("forkserver")
    # In time only if nothing was started so before; otherwise each process imports by itself.
    context.set_forkserver_preload(["lpbf_dataset.build", "sklearn.neighbors", "pyarrow.parquet"])
    return context


@pytest.fixture(scope="session")
def fakes() -> SimpleNamespace:
    """Return the classes of made-up cases and sources, for fixtures that outlive a test."""
    return SimpleNamespace(FakeCase=FakeCase, FakeSource=FakeSource)


@pytest.fixture
def case() -> type[FakeCase]:
    """Return the class of made-up cases."""
    return FakeCase


@pytest.fixture
def source() -> type[FakeSource]:
    """Return the class of sources that yield what they are given."""
    return FakeSource


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return where a store is to be, alone in its folder."""
    return tmp_path / "here" / "s.zarr"


@pytest.fixture
def build(target: Path) -> Callable[..., BuildResult]:
    """Return a function that builds a store of some cases, at `target` unless told otherwise."""

    def run(found: Sequence[Any], options: BuildOptions | None = None, **more: Any) -> BuildResult:
        sources = more.pop("sources", [])
        return build_store(
            [*sources, FakeSource(found)], more.pop("output", target), options or BuildOptions(), **more
        )

    return run


@pytest.fixture
def files() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that reads every file of a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    return read


@pytest.fixture
def reads(tmp_path: Path) -> Callable[[], list[str]]:
    """Return a function that lists the cases that were read since it was called last, by `log`."""

    def since() -> list[str]:
        log = tmp_path / "log"
        names = log.read_text().split() if log.exists() else []
        log.write_text("")
        return names

    return since


@pytest.fixture
def logged(tmp_path: Path) -> Callable[..., FakeCase]:
    """Return a function that makes cases whose readings `reads` lists."""

    def make(case_id: str, **chosen: Any) -> FakeCase:
        return FakeCase(case_id, log=tmp_path / "log", **chosen)

    return make


@pytest.fixture
def box_part() -> Surface:
    """Return the closed surface of a box of 2 x 1 x 1 mm, as that of a part."""
    from trimesh.creation import box

    solid = box(bounds=[(0, 0, 0), (2, 1, 1)])
    return Surface(solid.triangles.astype(np.float32), "box.stl")
