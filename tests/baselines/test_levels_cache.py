from __future__ import annotations

import numpy as np
import pytest

from baselines import levels_cache
from baselines.bistride import coarsen
from baselines.levels_cache import cached_levels


@pytest.fixture
def mesh():
    """A ladder."""
    rungs = np.arange(20, dtype=np.int32).reshape(10, 2)
    rails = np.concatenate([np.stack([rungs[:-1, side], rungs[1:, side]], axis=1) for side in (0, 1)])
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    return points, np.concatenate([rungs, rails])


def assert_same(graphs, expected):
    assert len(graphs) == len(expected)
    for graph, other in zip(graphs, expected, strict=True):
        np.testing.assert_array_equal(graph.kept, other.kept)
        np.testing.assert_array_equal(graph.edges, other.edges)


def fail(*_):
    raise AssertionError("computed once more")


def test_computes_once(mesh, tmp_path, monkeypatch):
    first = cached_levels(tmp_path / "levels", *mesh, 2)
    assert_same(first, coarsen(*mesh, 2))
    monkeypatch.setattr(levels_cache, "coarsen", fail)
    assert_same(cached_levels(tmp_path / "levels", *mesh, 2), first)


def test_other_meshes_and_depths_have_files_of_their_own(mesh, tmp_path):
    points, edges = mesh
    cached_levels(tmp_path, points, edges, 2)
    assert_same(cached_levels(tmp_path, points, edges, 1), coarsen(points, edges, 1))
    assert_same(cached_levels(tmp_path, points[::-1], edges, 2), coarsen(points[::-1], edges, 2))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_file_is_written_anew(mesh, tmp_path, caplog):
    expected = cached_levels(tmp_path, *mesh, 2)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert_same(cached_levels(tmp_path, *mesh, 2), expected)
    assert path.name in caplog.text
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written(mesh, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert_same(cached_levels(tmp_path / "file" / "levels", *mesh, 2), coarsen(*mesh, 2))
    assert "cannot keep the levels" in caplog.text


def test_without_a_folder(mesh):
    assert_same(cached_levels(None, *mesh, 2), coarsen(*mesh, 2))
