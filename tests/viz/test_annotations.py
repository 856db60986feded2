from __future__ import annotations

import pytest

from viz.annotations import deformation_label, field_label, field_units, with_units


@pytest.mark.parametrize(
    ("name", "label", "units"),
    [
        ("displacement_z", "displacement z", "mm"),
        ("displacement", "displacement magnitude", "mm"),
        ("von_mises_stress", "von Mises stress", "MPa"),
        ("cauchy_stress_xy", "cauchy stress xy", "MPa"),
        ("temperature", "temperature", "°C"),
        ("elastic_strain_zz", "elastic strain zz", ""),
    ],
)
def test_fields_are_named_in_words_and_units(name: str, label: str, units: str) -> None:
    assert field_label(name) == label
    assert field_units(name) == units


def test_units_stand_in_brackets_where_there_are_any() -> None:
    assert with_units("displacement z", "mm") == "displacement z [mm]"
    assert with_units("elastic strain zz", "") == "elastic strain zz"


@pytest.mark.parametrize(
    ("factor", "label"),
    [
        (20.0, "deformation \N{MULTIPLICATION SIGN} 20"),
        (1.5, "deformation \N{MULTIPLICATION SIGN} 1.5"),
        (0.0, "undeformed"),
    ],
)
def test_the_exaggeration_is_stated(factor: float, label: str) -> None:
    assert deformation_label(factor) == label
