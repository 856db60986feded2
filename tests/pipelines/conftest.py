"""A small store to train on, and the command as a user runs it."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.sources.base import CaseError, DamagedStep, FailureReason, Step
from lpbf_dataset.store.writer import StoreWriter
from pipelines import finishing, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lpbf_dataset.schema import StepKind

FIELDS = ("displacement", "von_mises_stress", "temperature")
SPLITS = {"a": "train", "b": "train", "c": "train", "d": "val", "e": "test"}
LENGTHS = {"a": 4, "b": 7, "c": 5, "d": 6, "e": 3, "f": 8, "g": 5}
TINY_MODEL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def bar(case_id: str, length: int, scale: float = 1.0) -> lpbf.Case:
    """Return a bar of unit cells along x that bends upwards; its temperature is constant."""
    layers = np.array([(0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1)], np.float32)
    points = np.concatenate([layers + np.float32([x, 0, 0]) for x in range(length + 1)])
    first = np.array([0, 4, 5, 1, 3, 7, 6, 2], np.int32)
    cells = np.stack([first + 4 * x for x in range(length)]).astype(np.int32)
    x, _, z = points.T
    displacement = scale * np.column_stack([-0.01 * x * z, 0.002 * x, 0.01 * (x - 2) ** 2])
    variables = {
        "points": points,
        "cells": cells,
        "edges": unique_edges(cells, len(points)),
        "displacement": displacement.astype(np.float32),
        "von_mises_stress": 100 + 20 * x,
        "temperature": np.full(len(points), 25, np.float32),
    }
    return lpbf.Case(case_id, case_id, "synthetic", variables)


def write_store(path: Path, splits: Mapping[str, str] = SPLITS, scale: float = 1.0) -> Path:
    """Write a store of bars, with displacements multiplied by `scale`."""
    with StoreWriter(path, FIELDS) as writer:
        for case_id in splits:
            writer.append(bar(case_id, LENGTHS[case_id], scale))
        writer.finish(splits, pd.DataFrame({"case_id": list(splits)}))
    return path


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and pictures, which take longer than a training, but for tests with `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(finishing, "draw", lambda pictures: None)
        monkeypatch.setattr(finishing, "save_error_plots", lambda *arguments: None)


@pytest.fixture
def pictures() -> None:
    """Have plots and pictures made."""


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """Return `write_store`."""
    return write_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of bars: three train, one val, one test."""
    return write_store(tmp_path_factory.mktemp("train") / "bars.zarr")


@pytest.fixture(scope="session")
def train_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of one training case."""
    return write_store(tmp_path_factory.mktemp("train") / "one.zarr", {"a": "train"})


@pytest.fixture(autouse=True)
def restore_interrupts() -> Iterator[None]:
    """Undo that Lightning ignores Ctrl-C once it has seen one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return ``lpbf-train`` in this process."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as stopped:
            train.main([str(argument) for argument in arguments])
        return Outcome(int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run on `store`."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    arguments = [
        "flare",
        f"--data={store}",
        f"-o{folder}",
        "--epochs=3",
        "--ema_decay=0.5",
        "--examples=0",
        "-q",
        *TINY_MODEL,
    ]
    assert train.run(arguments) == 0
    return folder


@pytest.fixture(scope="session")
def ensemble(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished ensemble of two on `store` that predicts vectors and sees features."""
    folder = tmp_path_factory.mktemp("finished") / "ensemble"
    arguments = [
        "flare",
        f"--data={store}",
        f"-o{folder}",
        "--targets",
        "displacement_x",
        "displacement_y",
        "displacement_z",
        "--members=2",
        "--epochs=1",
        "--examples=0",
        "-q",
        *TINY_MODEL,
    ]
    assert train.run(arguments) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


RATE = 0.01
"""mm by which a step adds to the displacement in z where x is 0."""


@dataclass(frozen=True)
class GrowingBar:
    """A bar along x that grows in z by a layer of unit cells every two steps.

    Each step on the plate adds RATE (1 + x) mm to the displacement in z of every node and 100 (1 + y) MPa to
    the stress; a new node starts from the one below it.  Off the plate the displacement is -1 mm.
    """

    case_id: str
    length: int = 3
    layers: int = 3
    missing: tuple[int, ...] = ()
    with_steps: bool = True

    source = "fake"
    location = "memory"

    @property
    def design_id(self) -> str:
        return self.case_id

    def content_hash(self) -> str:
        return f"{self.length} {self.layers} {self.missing}"

    def field_names(self) -> tuple[str, ...]:
        return FIELDS

    def surface(self) -> None:
        return None

    def history(self, fields: Sequence[str] | None = None) -> Iterator[Step | DamagedStep]:
        kinds = ["deposited", "dwelt"] * self.layers + ["cooled", "removed"]
        for index, kind in enumerate(kinds if self.with_steps else ()):
            if index in self.missing:
                error = CaseError(FailureReason.MISSING_FILE, "lost")
                yield DamagedStep(index, kind, 10.0 * index, error)
            else:
                yield self._step(index, kind, min(index // 2 + 1, self.layers))

    def final_step(self, fields: Sequence[str] | None = None) -> Step:
        return self._step(2 * self.layers + 1, "removed", self.layers)

    def _step(self, index: int, kind: StepKind, layers: int) -> Step:
        grid = np.stack(np.meshgrid(range(self.length + 1), range(2), range(layers + 1), indexing="ij"), -1)
        points = grid.reshape(-1, 3)
        number = np.arange(len(points)).reshape(grid.shape[:3])
        x, y, z = (size - 1 for size in number.shape)
        corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
        cells = np.stack([number[i : x + i, j : y + j, k : z + k].ravel() for i, j, k in corners], 1)
        displacement = np.zeros(points.shape)
        displacement[:, 2] = -1 if kind == "removed" else RATE * (index + 1) * (1 + points[:, 0])
        fields = {
            "displacement": displacement,
            "von_mises_stress": 100.0 * (index + 1) * (1 + points[:, 1]),
            "temperature": np.full(len(points), 25.0),
        }
        values = {name: value.astype(np.float32) for name, value in fields.items()}
        return Step(index, kind, 10.0 * index, points.astype(np.float32), cells.astype(np.int32), values)


@dataclass(frozen=True)
class GrowingBars:
    """A source of them."""

    bars: tuple[GrowingBar, ...]

    def cases(self) -> Iterator[GrowingBar]:
        return iter(self.bars)


def write_builds(path: Path, *bars: GrowingBar, steps: str = "all") -> Path:
    """Write a store of growing bars; train, val and test by the first letter of their names, t, v and x."""
    splits = {"train": "t", "val": "v", "test": "x"}
    members = {
        name: [bar.case_id for bar in bars if bar.case_id[0] == letter] for name, letter in splits.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    split_file = path.with_suffix(".json")
    split_file.write_text(json.dumps(members))
    options = BuildOptions(rules="none", split="official", split_file=str(split_file), steps=steps)
    build_store([GrowingBars(bars)], path, options)
    return path


@pytest.fixture(scope="session")
def make_builds() -> Callable[..., Path]:
    """Return `write_builds`."""
    return write_builds


@pytest.fixture(scope="session")
def make_bar() -> type[GrowingBar]:
    """Return `GrowingBar`."""
    return GrowingBar


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of growing bars with their histories: two train, one val, one test."""
    bars = [GrowingBar("t1", 3, 2), GrowingBar("t2", 4, 3), GrowingBar("v1", 2, 2), GrowingBar("x1", 5, 2)]
    return write_builds(tmp_path_factory.mktemp("builds") / "builds.zarr", *bars)
