from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset import open_dataset

pytest.importorskip("torch_geometric")


@pytest.fixture(scope="module")
def loader(benchmark_module):
    return benchmark_module("loader")


def test_published_graphs_hold_the_same(loader, tmp_path):
    store, paths = loader.write(tmp_path, cases=2, nodes=100)
    ours = loader.MeshDataset(open_dataset(store))[1]
    theirs = loader.PublishedDataset(paths)[1]
    assert theirs.metadata["case_name"] == ours.case_id
    np.testing.assert_array_equal(theirs.x, ours.x)
    np.testing.assert_array_equal(theirs.y, ours.y[:, 0])
    assert set(map(tuple, theirs.edge_index.T.tolist())) == set(map(tuple, ours.edge_index.T.tolist()))


def test_every_loader_is_timed(loader):
    table = loader.measure(cases=2, nodes=100, workers=0, epochs=1)
    assert table.loc["published", "times published"] == 1
    assert (table > 0).all(axis=None)
    assert len(table) == 6
