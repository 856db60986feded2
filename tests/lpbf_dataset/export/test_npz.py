from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, Extraction, build_store, read_case
from lpbf_dataset.export import ExportError, export_npz
from lpbf_dataset.schema import field_names
from lpbf_dataset.sources.netfabb import NetfabbSource
from lpbf_dataset.sources.npz import NpzSource


def assert_equal(read: lpbf.Case, case: lpbf.Case) -> None:
    assert (read.case_id, read.design_id) == (case.case_id, case.design_id)
    assert set(read.variables) == set(case.variables)
    for name, values in case.variables.items():
        assert read.variables[name].dtype == values.dtype
        np.testing.assert_array_equal(read.variables[name], values, err_msg=name)


def test_the_source_reads_what_was_exported(cases, tmp_path):
    paths = export_npz(cases, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "train/21477_babb9c34_4.npz",
        "val/Düse_部品_7.npz",
        "test/55199_4d57661f_0.npz",
    ]
    raw = list(NpzSource(tmp_path).cases())
    assert [case.official_split for case in raw] == ["train", "val", "test"]
    for case, read in zip(cases, raw, strict=True):
        assert_equal(read_case(read, Extraction(field_names(include_optional=True))), case)


def test_published_code_finds_what_it_looks_for(cases, tmp_path):
    case = cases[0]
    (path,) = export_npz([case], tmp_path)
    graph = dict(np.load(path, allow_pickle=True))
    metadata = json.loads(graph.pop("_metadata")[0])["metadata"]
    assert (metadata["case_name"], metadata["zmax"], metadata["time_steps"]) == (case.case_id, None, 1)
    expected = {
        "pos": ((case.node_count, 3), "float32"),
        "elems": ((case.cell_count, 8), "int32"),
        "edge_index": ((2, 2 * len(case.edges)), "int64"),
        "disp": ((case.node_count, 3), "float32"),
        "vmstr": ((case.node_count, 1), "float32"),
        "temp": ((case.node_count, 1), "float32"),
    }
    found = {name: (graph[name].shape, graph[name].dtype.name) for name in expected}
    assert found == expected
    assert {array.dtype.kind for array in graph.values()} <= {"f", "i", "b"}


def test_edges_go_both_ways_in_order(cases, tmp_path):
    (path,) = export_npz(cases[:1], tmp_path)
    edge_index = np.load(path)["edge_index"]
    slow = sorted({pair for a, b in cases[0].edges.tolist() for pair in ((a, b), (b, a))})
    assert list(zip(*edge_index.tolist(), strict=True)) == slow


def test_exporting_twice_is_the_same(cases, tmp_path):
    (path,) = export_npz(cases[:1], tmp_path)
    before = path.read_bytes()
    export_npz(cases[:1], tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("split", ["", "..", "/absolute"])
def test_splits_are_folders_of_known_names(cases, tmp_path, split):
    with pytest.raises(ExportError, match="not one of train, val, test"):
        export_npz([replace(cases[0], split=split)], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_unsafe_ids_are_refused(cases, tmp_path):
    with pytest.raises(ExportError, match="cannot name a file"):
        export_npz([replace(cases[0], case_id="../../evil")], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_real_case_comes_back(step2, tmp_path):
    build_store([NetfabbSource(step2)], tmp_path / "s.zarr", BuildOptions(rules="none"))
    dataset = lpbf.open_dataset(tmp_path / "s.zarr")
    export_npz(dataset, tmp_path / "npz")
    source = NpzSource(tmp_path / "npz")
    official = {case.case_id: case.official_split for case in source.cases()}
    options = BuildOptions(rules="none", split="official")
    build_store([source], tmp_path / "again.zarr", options, official=official)
    again = lpbf.open_dataset(tmp_path / "again.zarr")
    assert again[0].split == dataset[0].split
    assert_equal(again[0], dataset[0])
