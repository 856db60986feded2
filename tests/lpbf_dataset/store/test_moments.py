from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.store.moments import Moments


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.floats(-1e4, 1e4),
    st.sampled_from([(), (3,)]),
)
def test_merging_equals_one_pass_over_all_rows(lengths, offset, row_shape):
    random = np.random.default_rng(sum(lengths))
    parts = [(offset + random.normal(size=(n, *row_shape))).astype(np.float32) for n in lengths]
    merged = Moments.of(parts[0])
    for part in parts[1:]:
        merged = merged.merge(Moments.of(part))
    together = np.concatenate(parts).astype(np.float64)
    assert merged.count == len(together)
    np.testing.assert_allclose(merged.mean, together.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(merged.std, together.std(axis=0), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(merged.min, together.min(axis=0))
    np.testing.assert_array_equal(merged.max, together.max(axis=0))


@pytest.mark.parametrize("row_shape", [(), (3,)])
def test_json_round_trip(row_shape):
    moments = Moments.of(np.random.default_rng(0).normal(size=(10, *row_shape)))
    copy = Moments.from_json(json.loads(json.dumps(moments.to_json())))
    assert copy.count == 10
    assert copy.mean.shape == row_shape
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(getattr(copy, name), getattr(moments, name), rtol=1e-12)
