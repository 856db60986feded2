from __future__ import annotations

import pytest

from pipelines.scoring.scored_fields import scored_fields


@pytest.mark.parametrize(
    ("targets", "fields"),
    [
        (("displacement_z",), {"displacement_z": 0}),
        (
            ("displacement_x", "displacement_y", "von_mises_stress"),
            {"displacement_x": 0, "displacement_y": 1, "von_mises_stress": 2},
        ),
        (
            ("displacement_z", "von_mises_stress", "displacement_x", "displacement_y"),
            {
                "displacement_z": 0,
                "von_mises_stress": 1,
                "displacement_x": 2,
                "displacement_y": 3,
                "displacement": [2, 3, 0],
            },
        ),
    ],
)
def test_a_vector_is_scored_where_all_its_components_are(targets, fields):
    assert scored_fields(targets) == fields


def test_a_tensor_is_not():
    targets = tuple(f"cauchy_stress_{name}" for name in ("xx", "yy", "zz", "xy", "xz", "yz"))
    assert "cauchy_stress" not in scored_fields(targets)
