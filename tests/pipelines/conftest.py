"""A small store to train on, and the command as a user runs it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.store.writer import StoreWriter
from pipelines import train
from pipelines.scoring import finishing
from tests.builds import GrowingBar, write_builds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


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
