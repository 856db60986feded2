"""Small made-up cases for tests that need no physics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lpbf_dataset import Case
from lpbf_dataset.mesh import unique_edges
from lpbf_dataset.schema import VARIABLES, field_names

if TYPE_CHECKING:
    from collections.abc import Callable


def make_case(nx: int, ny: int, nz: int, seed: int = 0, *, case_id: str = "", optional: bool = False) -> Case:
    """Return a block of nx x ny x nz unit cells with random fields."""
    random = np.random.default_rng(seed)
    shape = (nx + 1, ny + 1, nz + 1)
    node = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    cells = np.stack([node[i : i + nx, j : j + ny, k : k + nz].ravel() for i, j, k in corners], axis=1)
    fields = {
        name: random.normal(size=(node.size, *VARIABLES[name].row_shape)).astype(np.float32)
        for name in field_names(include_optional=optional)
    }
    return Case(
        case_id or f"case_{nx}{ny}{nz}_{seed}",
        design_id=f"design_{seed}",
        source="synthetic",
        variables={
            "points": np.argwhere(node >= 0).astype(np.float32),
            "cells": cells,
            "edges": unique_edges(cells, node.size),
            **fields,
        },
        statistics={"nodes": node.size, "cells": len(cells), "volume": float(len(cells))},
    )


@pytest.fixture(scope="session")
def synthetic_case() -> Callable[..., Case]:
    """Return `make_case`."""
    return make_case
