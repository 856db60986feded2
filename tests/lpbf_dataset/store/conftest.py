"""Stores of made-up cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from lpbf_dataset.schema import SPLITS, field_names
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lpbf_dataset import Case

FIELDS = field_names(include_optional=False)
TINY = Encoding(chunk_rows=16, shard_bytes=16 * 12 * 3)
"""Several chunks to a shard and several shards to a handful of small cases."""


def make_store(path: Path, cases: Sequence[Case], encoding: Encoding = TINY, **attributes: Any) -> Path:
    """Write cases, train / val / test in turn, with a catalog that lists one more."""
    catalog = pd.DataFrame(
        {
            "case_id": [*(case.case_id for case in cases), "rejected"],
            "status": ["kept"] * len(cases) + ["rejected"],
            "nodes": [*(case.node_count for case in cases), -1],
            "volume": [1.5] * len(cases) + [float("nan")],
        }
    )
    with StoreWriter(path, FIELDS, encoding) as writer:
        for case in cases:
            writer.append(case)
        splits = {case.case_id: SPLITS[index % 3] for index, case in enumerate(cases)}
        writer.finish(splits, catalog, attributes)
    return path


@pytest.fixture(scope="session")
def write_store() -> Callable[..., Path]:
    """Return `make_store`."""
    return make_store


@pytest.fixture(scope="session")
def cases(synthetic_case: Callable[..., Case]) -> list[Case]:
    """Return seven cases of different sizes, one with an id beyond ASCII."""
    sizes = [(1, 1, 1), (3, 2, 1), (2, 2, 2), (5, 4, 3), (1, 1, 2), (4, 1, 1), (2, 3, 1)]
    return [
        synthetic_case(*size, seed=seed, case_id="Düse_部品_7" if seed == 2 else "")
        for seed, size in enumerate(sizes)
    ]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, cases: list[Case]) -> Path:
    """Return a store that no test changes."""
    return make_store(tmp_path_factory.mktemp("stores") / "store.zarr", cases, licence="CC0")
