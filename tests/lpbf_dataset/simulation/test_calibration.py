"""Calibration finds the constants that given results were computed with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from lpbf_dataset.simulation.calibration import Reference, calibrate
from lpbf_dataset.simulation.inherent_strain import EdgeRelaxation
from lpbf_dataset.simulation.materials import MATERIALS, load_material, save_material
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.base import CaseError, Surface
from lpbf_dataset.sources.netfabb import NetfabbSource

SETTINGS = SimulationSettings(layer_thickness=0.05)


@pytest.fixture(scope="module")
def surface() -> Surface:
    """Return an L-shaped part of two groups."""
    foot = trimesh.creation.box(extents=(14, 8, 4)).apply_translation((0, 0, 2))
    wall = trimesh.creation.box(extents=(4, 8, 4)).apply_translation((-5, 0, 6))
    return Surface(trimesh.boolean.union([foot, wall]).triangles.astype(np.float32), "angle.stl")


def results(surface: Surface, **constants: object) -> Reference:
    material = replace(MATERIALS["inconel625"], **constants)
    return Reference(surface, simulate(surface, material, SETTINGS).steps)


def test_a_scalar_is_found_again(surface):
    reference = results(surface, inherent_strain=-0.0123, relaxation=None)
    fit = calibrate([reference], MATERIALS["316l"], SETTINGS)
    # Not exactly: the other properties, here those of steel, add a thermal part of their own.
    assert fit.material.inherent_strain == pytest.approx(-0.0123, rel=0.02)
    fit = calibrate([reference], MATERIALS["inconel625"], SETTINGS)
    assert fit.material.inherent_strain == pytest.approx(-0.0123, rel=1e-4)
    assert fit.material.relaxation is None
    assert fit.material.calibration == "displacement of angle.stl"
    assert fit.r2 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_the_full_law_is_found_again(surface):
    law = EdgeRelaxation(strength=0.5, along=0.3, reach=2.0, run=5.0)
    fit = calibrate(
        [results(surface, inherent_strain=-0.01, relaxation=law)], MATERIALS["inconel625"], SETTINGS, "full"
    )
    assert fit.r2 > 0.99999
    assert fit.material.inherent_strain == pytest.approx(-0.01, rel=0.02)
    assert fit.material.relaxation.strength == pytest.approx(0.5, rel=0.1)


def test_another_mesh_is_refused(surface):
    reference = results(surface)
    with pytest.raises(CaseError, match="give the layer thickness and cell size"):
        calibrate([reference], MATERIALS["inconel625"], SimulationSettings(layer_thickness=0.04))


def test_the_real_run_gives_the_shipped_scalar(step2):
    (case,) = NetfabbSource(step2).cases()
    fit = calibrate([Reference.of(case)], MATERIALS["inconel625"])
    assert fit.material.inherent_strain == pytest.approx(-0.0081, abs=2e-4)
    assert fit.r2 > 0.99


@pytest.mark.parametrize("name", MATERIALS)
def test_a_material_survives_its_file(name, tmp_path):
    path = tmp_path / "folder" / "material.yaml"
    save_material(MATERIALS[name], path)
    assert load_material(str(path)) == MATERIALS[name]


def test_materials_are_found_by_name_in_any_case():
    assert load_material("Ti6Al4V") is MATERIALS["ti6al4v"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("- a\n- b\n", "does not hold a material"),
        ("name: x\nrelaxation: null\n", "does not hold a material"),
        ("!!python/object/apply:os.system ['true']", "does not hold a material"),
        ("\tx: [", "does not hold a material"),
    ],
)
def test_a_bad_material_file_is_one_line(content, message, tmp_path):
    path = tmp_path / "m.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_material(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_material_names_the_known_ones():
    with pytest.raises(ValueError, match="no material named 'unobtainium'; there are inconel625"):
        load_material("unobtainium")
