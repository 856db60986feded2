from __future__ import annotations

import re

import numpy as np
import pytest

from lpbf_dataset.schema import (
    MESH_VARIABLES,
    RAGGED_DIMS,
    STATISTICS,
    VARIABLES,
    component_names,
    field_names,
    resolve_scalar,
)


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=lambda variable: variable.name)
def test_variables_are_complete(variable):
    assert np.dtype(variable.dtype).name == variable.dtype
    assert variable.dim in RAGGED_DIMS
    assert variable.units
    assert variable.long_name
    assert len(variable.dims) == 1 + len(variable.row_shape)


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=lambda statistic: statistic.name)
def test_statistics_have_a_value_for_unknown(statistic):
    assert statistic.dtype in {"int64", "float64"}
    assert statistic.units
    assert statistic.long_name


def test_names_are_valid_attributes_and_do_not_clash():
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in (*VARIABLES, *STATISTICS))
    components = [f"{name}_{part}" for name, v in VARIABLES.items() for part in component_names(v)]
    assert len({*components, *VARIABLES}) == len(components) + len(VARIABLES)


def test_components_match_the_row_shape():
    for variable in VARIABLES.values():
        if variable.dim == "node":
            assert len(component_names(variable)) == (variable.row_shape[0] if variable.row_shape else 0)


def test_field_names_leave_out_the_mesh():
    basic = field_names(include_optional=False)
    assert basic == ("displacement", "von_mises_stress", "temperature")
    assert field_names(include_optional=True)[: len(basic)] == basic
    assert not set(MESH_VARIABLES) & set(field_names(include_optional=True))


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("displacement_z", ("displacement", 2)),
        ("displacement", ("displacement", None)),
        ("von_mises_stress", ("von_mises_stress", None)),
        ("cauchy_stress_xz", ("cauchy_stress", 4)),
        ("principal_stress_direction_max_y", ("principal_stress_direction_max", 1)),
        ("principal_stress_max", ("principal_stress_max", None)),
    ],
)
def test_resolve_scalar(name, resolved):
    assert resolve_scalar(name) == resolved


@pytest.mark.parametrize("name", ["", "displacement_w", "displacment_z", "temperature_x", "_z"])
def test_resolve_scalar_lists_the_known_fields(name):
    with pytest.raises(KeyError, match="displacement_z"):
        resolve_scalar(name)
