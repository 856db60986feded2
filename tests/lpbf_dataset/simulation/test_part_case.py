"""A part as a case: the mesh, features and order of nodes that its simulation is stored with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.simulation.job import PartSetup, simulate_parts
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.part_case import mesh_part, place_part
from lpbf_dataset.simulation.recorded import setup_from_json
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.part_files import PartReference

SETUP = PartSetup(MATERIALS["inconel625"], SimulationSettings(layer_thickness=0.05))


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """Return an askew ring in a file: cells of several sizes, and vertices of no round numbers."""
    folder = tmp_path_factory.mktemp("part")
    ring = trimesh.creation.annulus(r_min=4.0, r_max=9.0, height=8.0, sections=24)
    ring.apply_transform(trimesh.transformations.rotation_matrix(0.3, [0.2, 0.1, 1.0]))
    ring.export(folder / "ring.stl")
    return PartReference(folder / "ring.stl", "ring")


def without_lid(surface: trimesh.Trimesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces[surface.face_normals[:, 2] < 0.5], process=False)


def test_every_planned_step_is_that_of_the_simulated_and_stored_part(ring, tmp_path):
    setup = replace(SETUP, scale_to=20.0)
    (outcome,) = simulate_parts([ring], setup, tmp_path / "results")
    assert outcome.status == "simulated"
    options = BuildOptions(rules="none", steps="all")
    build_store([NetfabbSource(tmp_path / "results")], tmp_path / "store.zarr", options)
    stored = lpbf.open_dataset(tmp_path / "store.zarr")["ring"].steps

    part = place_part(ring.read(), setup)
    case = mesh_part("ring", part.surface, setup.settings, features=False, steps=True).case
    assert len(case.steps) == len(stored) > 4
    for planned, step in zip(case.steps, stored, strict=True):
        assert planned.field_names == ()
        for name in ("kind", "time", "height", "group", "index", "case_id"):
            assert getattr(planned, name) == getattr(step, name), name
        for name in ("points", "cells"):
            assert planned.variables[name].dtype == step.variables[name].dtype
            np.testing.assert_array_equal(planned.variables[name], step.variables[name], err_msg=name)
    np.testing.assert_array_equal(case.steps[-1].points, case.points)
    assert list(case.steps.table.number) == list(stored.table.number)


@pytest.mark.parametrize("sdf_surface", ["mesh", "stl"])
def test_the_case_is_that_of_the_simulated_and_stored_part(sdf_surface, ring, tmp_path):
    setup = replace(SETUP, scale_to=20.0, orient="x")
    (outcome,) = simulate_parts([ring], setup, tmp_path / "results")
    assert outcome.status == "simulated"
    options = BuildOptions(rules="none", sdf_surface=sdf_surface)
    build_store([NetfabbSource(tmp_path / "results")], tmp_path / "store.zarr", options, simulation=setup)
    store = lpbf.open_dataset(tmp_path / "store.zarr")
    stored = store["ring"]

    part = place_part(ring.read(), setup)
    case = mesh_part("ring", part.surface, setup.settings, sdf_surface=sdf_surface).case
    assert {"points", "cells", "edges", "sdf", "sdf_direction", "axis_distance", "on_surface"} == set(
        case.variables
    )
    for name, values in case.variables.items():
        assert values.dtype == stored.variables[name].dtype
        np.testing.assert_array_equal(values, stored.variables[name], err_msg=name)
    assert setup_from_json(store.attributes["simulation"]) == setup


def test_the_frame_brings_the_placed_part_back_to_its_file_at_the_size_it_is_printed(ring):
    read = ring.read()
    part = place_part(read, replace(SETUP, scale_to=20.0, orient="-y"))
    inverse = np.linalg.inv(part.frame)
    back = part.surface.vertices @ inverse[:3, :3].T + inverse[:3, 3]
    factor = 20.0 / read.mesh.extents.max()
    np.testing.assert_allclose(back, factor * read.mesh.vertices, atol=1e-9)
    assert np.linalg.det(part.frame[:3, :3]) == pytest.approx(1.0)


def test_features_are_left_out_where_nobody_needs_them():
    box = trimesh.creation.box(extents=(14.0, 12.0, 8.0))
    assert set(mesh_part("box", box, SETUP.settings, features=False).case.variables) == {
        "points",
        "cells",
        "edges",
    }


@pytest.mark.parametrize(
    ("surface", "reason"),
    [
        (trimesh.creation.box(extents=(1e4, 1e4, 1e4)), FailureReason.TOO_LARGE),
        (without_lid(trimesh.creation.box(extents=(9, 9, 9))), FailureReason.OPEN_SURFACE),
        (
            trimesh.creation.box(extents=(8, 8, 4)).apply_translation([0, 0, 6])
            + trimesh.creation.box(extents=(1, 1, 2)),
            FailureReason.TOO_THIN,
        ),
    ],
)
def test_a_part_that_cannot_be_meshed_has_a_reason(surface, reason):
    with pytest.raises(CaseError) as caught:
        mesh_part("bad", surface, SETUP.settings)
    assert caught.value.reason == reason


def test_walls_thinner_than_the_cells_are_told():
    # The centre of no layer of cells lies in the upper half.
    comb = trimesh.creation.box(extents=(20.0, 20.0, 1.4))
    (warning,) = mesh_part("plate", comb, SETUP.settings).warnings
    assert "of the part's volume: features are thinner than the cells" in warning
