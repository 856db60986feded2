"""Cases of every split, and a store of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.features import geometry_features, mesh_surface
from lpbf_dataset.schema import FEATURE_VARIABLES, SPLITS, field_names
from lpbf_dataset.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def cases(synthetic_case: Callable[..., lpbf.Case]) -> list[lpbf.Case]:
    """Return a case of each split, with every field and feature."""
    names = ("21477_babb9c34_4", "Düse_部品_7", "55199_4d57661f_0")
    return [
        _with_features(
            replace(synthetic_case(3, 2, 1 + seed, seed, case_id=name, optional=True), split=split)
        )
        for seed, (name, split) in enumerate(zip(names, SPLITS, strict=True))
    ]


def _with_features(case: lpbf.Case) -> lpbf.Case:
    features = geometry_features(case.points, case.cells, mesh_surface(case.points, case.cells))
    return replace(case, variables={**case.variables, **features})


@pytest.fixture(scope="session")
def dataset(cases: list[lpbf.Case], tmp_path_factory: pytest.TempPathFactory) -> lpbf.Dataset:
    """Return a store of the cases, whose catalog lists one more."""
    path = tmp_path_factory.mktemp("export") / "s.zarr"
    catalog = pd.DataFrame(
        {
            "case_id": [*(case.case_id for case in cases), "rejected"],
            "status": ["kept"] * 3 + ["rejected"],
            "nodes": [*(case.node_count for case in cases), -1],
            "max_z": [1.0, 2.0, 3.0, float("nan")],
        }
    )
    with StoreWriter(path, (*field_names(include_optional=True), *FEATURE_VARIABLES)) as writer:
        for case in cases:
            writer.append(case)
        writer.finish({case.case_id: case.split for case in cases}, catalog)
    return lpbf.open_dataset(path)
