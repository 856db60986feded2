"""A simulated part some of whose steps are damaged, on the whole road from its files to a model."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import trimesh

import lpbf_dataset as lpbf
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.netfabb import write_results
from pipelines import build, export, info, verify
from pipelines.runs.run import Run
from pipelines.steps.transitions import transitions

GROUPS = 4
MODEL = ("--model.channels=8", "--model.num_blocks=1", "--model.num_heads=2", "--model.num_latents=4")


def truncate(results, name):
    path = results / name
    path.write_bytes(path.read_bytes()[:-100])


def remove(results, name):
    (results / name).unlink()


def exit_code(main, *arguments) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """Return the results of a block of four layer groups: ten steps, on five meshes."""
    settings = SimulationSettings(layers_per_cell=50, group_cells=1)
    block = trimesh.creation.box(bounds=[(0, 0, 0), (6, 4, GROUPS * settings.cell_height)])
    folder = tmp_path_factory.mktemp("simulated") / "tower"
    write_results(folder, simulate(block, MATERIALS["ti6al4v"], settings).steps)
    return folder


@pytest.fixture(scope="module")
def whole(tower, tmp_path_factory):
    """Return the case of undamaged files."""
    store = tmp_path_factory.mktemp("whole") / "s.zarr"
    assert exit_code(build.main, tower, "-o", store, "-q", "--steps", "all", "--rules", "none") == 0
    return lpbf.open_dataset(store)[0]


@pytest.fixture
def damaged(tower, tmp_path):
    """Return a copy of the results to damage."""
    return shutil.copytree(tower, tmp_path / "tower")


@pytest.mark.parametrize(
    ("damage", "name", "missing", "reason"),
    [
        (truncate, "mechanical00_4.dis.ens", {3: "dwelt"}, "truncated_file"),
        (remove, "mechanical00_5.dis.ens", {4: "deposited"}, "missing_file"),
        (truncate, "mechanical_2.geo", {2: "deposited", 3: "dwelt"}, "truncated_file"),
        (remove, "mechanical_5.geo", {8: "cooled"}, "missing_file"),
    ],
)
def test_a_damaged_file_costs_the_steps_that_need_it(
    damaged, whole, tmp_path, capsys, damage, name, missing, reason
):
    damage(damaged / "results", name)
    store = tmp_path / "s.zarr"
    assert exit_code(build.main, damaged, "-o", store, "--steps", "all", "--rules", "none") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: case tower")]
    assert len(told) == len(missing)
    case = lpbf.open_dataset(store)[0]
    for line, (index, kind) in zip(told, missing.items(), strict=True):
        assert line.startswith(
            f"warning: case tower: step {index} of {len(whole.steps)} ({kind}) is missing: {reason}: "
        )
        assert name in line
        assert line.endswith(case.steps[index].fault)
    for step, expected in zip(case.steps, whole.steps, strict=True):
        assert step.is_missing == (step.index in missing)
        assert (step.kind, step.time, step.group) == (expected.kind, expected.time, expected.group)
        for variable, values in expected.variables.items():
            there = values[:0] if step.is_missing else values
            np.testing.assert_array_equal(step.variables[variable], there)


def test_the_whole_road(damaged, whole, tmp_path, capsys, command):
    truncate(damaged / "results", "mechanical00_4.dis.ens")
    remove(damaged / "results", "mechanical_3.geo")
    missing = [3, 4, 5]
    there = [index for index in range(len(whole.steps)) if index not in missing]
    store = tmp_path / "s.zarr"
    assert exit_code(build.main, damaged, "-o", store, "-q", "--steps", "all", "--rules", "none") == 0
    dataset = lpbf.open_dataset(store)

    (entry,) = dataset.catalog().itertuples()
    assert entry.status == "kept"
    assert [f"step {index} of" in entry.reason for index in missing] == [True] * 3
    for document in ("README.md", "report.html"):
        assert "mechanical00" in (store / document).read_text().replace("\\", "")
    assert pd.read_parquet(store / "steps.parquet").query("step_fault != ''")["step"].tolist() == missing
    capsys.readouterr()
    assert exit_code(info.main, store) == 0
    assert "3 missing, of tower" in capsys.readouterr().out
    assert exit_code(verify.main, store, "--deep", "-q") == 0

    series, expected = dataset[0].series(), whole.series()
    assert np.flatnonzero(series.is_missing).tolist() == missing
    assert np.isnan(series.fields["displacement"][missing]).all()
    np.testing.assert_array_equal(series.is_active[there], expected.is_active[there])
    np.testing.assert_array_equal(
        series.fields["displacement"][there], expected.fields["displacement"][there]
    )

    assert exit_code(export.main, store, "--format", "pvd", "-o", tmp_path / "pvd", "-q") == 0
    names = sorted(path.name for path in (tmp_path / "pvd" / "tower").iterdir())
    assert [int(name.partition("_")[0]) - 1 for name in names] == there

    run = tmp_path / "run"
    outcome = command(
        "flare", f"--data={store}", f"-o{run}", "--task=next-step", "--epochs=1", "--examples=0", "-q", *MODEL
    )
    assert outcome.code == 0, outcome.err
    learnt = [(each.before, each.step) for each in transitions(dataset.train, across_removal=False)]
    assert learnt == [(None, 0), (0, 1), (1, 2), (2, 6), (6, 7), (7, 8)]
    assert [step.index for step, _ in Run.open(run).roll_out(dataset[0])] == [0, 1, 2, 6, 7, 8]
