"""Parts to result folders: read back as they were computed, reused, or failed with a reason."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003

import numpy as np
import pytest
import trimesh

from lpbf_dataset.engine import TaskError, open_engine
from lpbf_dataset.simulation.job import PartSetup, share_cores, simulate_part, simulate_parts
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.part_files import PartGeometry

# Two groups of a small block: a simulation of a fraction of a second.
SETUP = PartSetup(MATERIALS["inconel625"], SimulationSettings(layer_thickness=0.05))
BLOCK = (14.0, 12.0, 8.0)


@dataclass(frozen=True)
class Block:
    """A block, or a part that cannot be read."""

    name: str = "block"
    extents: tuple[float, float, float] = BLOCK
    error: str = ""

    def read(self) -> PartGeometry:
        if self.error:
            raise CaseError(FailureReason.OPEN_SURFACE, self.error)
        return PartGeometry(
            self.name, self.name, trimesh.creation.box(extents=self.extents), ["drawn by hand"]
        )


@dataclass(frozen=True)
class Drawn:
    """A given mesh as a part."""

    name: str
    mesh: trimesh.Trimesh

    def read(self) -> PartGeometry:
        return PartGeometry(self.name, self.name, self.mesh)


@dataclass(frozen=True)
class Deadly:
    """A part that kills the process which reads it."""

    name: str = "deadly"

    def read(self) -> PartGeometry:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


@dataclass
class Losing:
    """An engine whose processes do half of the work and are lost."""

    error: TaskError

    def map(self, function, items):
        for index, part in enumerate(items):
            function(part)
            (function.keywords["output"] / f".{part.name}.partial").mkdir()
            yield index, self.error


def threads_of_solver(_) -> str:
    return os.environ["MKL_NUM_THREADS"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    """Return a folder with the results of a block."""
    output = tmp_path_factory.mktemp("simulated")
    outcome = simulate_part(Block(), SETUP, output)
    assert (outcome.status, outcome.warnings) == ("simulated", ("drawn by hand",))
    return output


def test_every_step_is_read_back_as_it_was_computed(simulated):
    (case,) = NetfabbSource(simulated).cases()
    computed = simulate(trimesh.creation.box(extents=BLOCK), SETUP.material, SETUP.settings).steps
    stored = case.steps()
    assert [step.kind for step in stored] == [step.kind for step in computed]
    for ours, theirs in zip(computed, stored, strict=True):
        np.testing.assert_array_equal(theirs.cells, ours.cells)
        np.testing.assert_array_equal(theirs.points, ours.points)
        assert theirs.time == pytest.approx(ours.time)
        assert theirs.fields.keys() == ours.fields.keys()
        for name, values in ours.fields.items():
            # Directions of equal principal stresses may turn with the order of summation.
            if "direction" not in name:
                atol = 1e-4 * float(np.abs(values).max())
                np.testing.assert_allclose(theirs.fields[name], values, rtol=0, atol=atol)


def test_provenance_names_this_solver(simulated):
    (case,) = NetfabbSource(simulated).cases()
    assert case.source == "lpbf-solver"
    provenance = json.loads((simulated / "block" / "provenance.json").read_text())
    assert provenance["material"]["name"] == "inconel625"
    assert provenance["settings"]["layer_thickness"] == 0.05
    log = (simulated / "block" / "mechanical.out").read_text()
    assert "no Autodesk software was involved" in log
    assert "warning: drawn by hand" in log
    assert log.splitlines()[-1] == "END LPBF toolkit simulation"


def test_the_surface_lies_where_the_mesh_does(simulated):
    (case,) = NetfabbSource(simulated).cases()
    surface, step = case.surface(), case.final_step()
    np.testing.assert_allclose(surface.triangles.min(axis=(0, 1)), step.points.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(surface.triangles.max(axis=(0, 1)), step.points.max(axis=0), atol=1e-5)


def test_vtk_opens_the_results(simulated):
    pyvista = pytest.importorskip("pyvista")
    reader = pyvista.get_reader(simulated / "block" / "results" / "mechanical.case")
    reader.set_active_time_value(reader.time_values[-1])
    mesh = reader.read()[0]
    (case,) = NetfabbSource(simulated).cases()
    np.testing.assert_array_equal(mesh["Displacement"], case.final_step().fields["displacement"])


@pytest.mark.parametrize(
    ("part", "setup", "status"),
    [
        (Block(), SETUP, "reused"),
        (Block(extents=(14.0, 12.0, 7.9)), SETUP, "simulated"),
        (Block(), replace(SETUP, material=MATERIALS["316l"]), "simulated"),
        (Block(), replace(SETUP, scale_to=15.0), "simulated"),
        (Block(), replace(SETUP, orient="x"), "simulated"),
    ],
    ids=["nothing", "surface", "material", "scale", "orientation"],
)
def test_only_a_change_is_simulated_again(part, setup, status, simulated, tmp_path):
    (tmp_path / "block").symlink_to(simulated / "block") if status == "reused" else simulate_part(
        Block(), SETUP, tmp_path
    )
    assert simulate_part(part, setup, tmp_path).status == status


def test_damaged_results_are_simulated_again(tmp_path):
    simulate_part(Block(), SETUP, tmp_path)
    log = tmp_path / "block" / "mechanical.out"
    log.write_text(log.read_text().replace("END LPBF", "EN"))
    assert simulate_part(Block(), SETUP, tmp_path).status == "simulated"


def test_a_part_that_cannot_be_simulated_leaves_its_reason(tmp_path):
    outcome = simulate_part(Block(error="a wall is missing"), SETUP, tmp_path)
    assert (outcome.status, outcome.detail) == ("failed", "open_surface: a wall is missing")
    (case,) = NetfabbSource(tmp_path).cases()
    with pytest.raises(CaseError, match="a wall is missing") as caught:
        case.final_step()
    assert caught.value.reason is FailureReason.ANALYSIS_TERMINATED


def test_a_part_that_hangs_in_the_powder_fails_alone(tmp_path):
    foot = trimesh.creation.box(extents=(14, 12, 2)).apply_translation((0, 0, 1))
    floating = trimesh.creation.box(extents=(14, 12, 8)).apply_translation((0, 0, 12))
    parts = [Drawn("floating", trimesh.util.concatenate([foot, floating])), Block()]
    outcomes = {outcome.name: outcome for outcome in simulate_parts(parts, SETUP, tmp_path)}
    assert outcomes["floating"].detail.startswith("too_thin: ")
    assert outcomes["block"].status == "simulated"


def test_islands_are_left_out_and_counted(tmp_path):
    block = trimesh.creation.box(extents=(14, 12, 8)).apply_translation((0, 0, 4))
    drops = [trimesh.creation.box(extents=(2, 2, 2)).apply_translation((x, 0, 12)) for x in (-4, 4)]
    (outcome,) = simulate_parts([Drawn("drops", trimesh.util.concatenate([block, *drops]))], SETUP, tmp_path)
    assert outcome.status == "simulated"
    assert any("in 2 places that nothing holds" in warning for warning in outcome.warnings)


def test_what_the_mesh_cannot_show_is_said(tmp_path):
    foot = trimesh.creation.box(extents=(12, 12, 1)).apply_translation((0, 0, 0.5))
    fins = [
        trimesh.creation.box(extents=(0.1, 12, 30)).apply_translation((x, 0, 16)) for x in (-5.03, 1.1, 4.9)
    ]
    (outcome,) = simulate_parts([Drawn("fins", trimesh.boolean.union([foot, *fins]))], SETUP, tmp_path)
    assert any("thinner than the cells" in warning for warning in outcome.warnings)
    narrow = Block("narrow", extents=(3.0, 20.0, 8.0))
    (outcome,) = simulate_parts([narrow], SETUP, tmp_path)
    assert any("aspect ratio of 10" in warning for warning in outcome.warnings)


def test_processes_do_what_one_process_does(simulated, tmp_path):
    pytest.importorskip("distributed")
    parts = [Deadly(), Block("broken", error="no"), Block()]
    with share_cores(2), open_engine(workers=2) as engine:
        outcomes = {outcome.name: outcome for outcome in simulate_parts(parts, SETUP, tmp_path, engine)}
    statuses = {name: outcome.status for name, outcome in outcomes.items()}
    assert statuses == {"block": "simulated", "broken": "failed", "deadly": "failed"}
    assert outcomes["deadly"].detail.startswith("worker_died: its process was killed twice")
    here, there = (next(iter(NetfabbSource(folder / "block").cases())) for folder in (simulated, tmp_path))
    np.testing.assert_allclose(
        here.final_step().fields["displacement"], there.final_step().fields["displacement"], atol=1e-7
    )
    assert {path.name for path in tmp_path.iterdir()} == {"block", "broken", "deadly"}


def test_a_part_whose_process_was_lost_leaves_its_reason(tmp_path):
    engine = Losing(TaskError("timed_out", "it ran for longer than 9 s"))
    (outcome,) = simulate_parts([Block()], SETUP, tmp_path, engine)
    assert (outcome.status, outcome.detail) == ("failed", "timed_out: it ran for longer than 9 s")
    assert [path.name for path in tmp_path.iterdir()] == ["block"]
    (case,) = NetfabbSource(tmp_path).cases()
    with pytest.raises(CaseError, match="timed_out: it ran for longer than 9 s") as caught:
        case.final_step()
    assert caught.value.reason is FailureReason.ANALYSIS_TERMINATED
    (outcome,) = simulate_parts([Block()], SETUP, tmp_path)
    assert outcome.status == "simulated"


@pytest.mark.parametrize(
    ("environment", "workers", "threads"),
    [
        ({}, 1, "8"),
        ({}, 3, "2"),
        ({}, 9, "1"),
        ({"OMP_NUM_THREADS": "5"}, 2, "5"),
        ({"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "6"}, 2, "6"),
    ],
)
def test_cores_are_shared_out_unless_the_user_did(environment, workers, threads, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with share_cores(workers):
        assert threads_of_solver(None) == threads
    assert dict(os.environ) == before


def test_processes_of_an_engine_have_their_share_of_the_cores(monkeypatch):
    pytest.importorskip("distributed")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    with share_cores(1), open_engine(workers=1, timeout=60.0) as engine:
        assert list(engine.map(threads_of_solver, [0])) == [(0, str(os.cpu_count()))]


def test_nothing_half_written_is_left(simulated):
    assert [path.name for path in simulated.iterdir()] == ["block"]
