from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from lpbf_dataset import open_dataset
from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.schema import SPLITS, VARIABLES, field_names
from lpbf_dataset.store import shards
from lpbf_dataset.store.layout import Encoding, StoreError
from lpbf_dataset.store.manifest import MANIFEST, write_manifest
from lpbf_dataset.store.verification.problems import EXPLANATIONS, Code
from lpbf_dataset.store.verification.values import check_values
from lpbf_dataset.store.verify import verify_store
from lpbf_dataset.store.writer import StoreWriter

FIELDS = field_names(include_optional=False)
TINY = Encoding(chunk_rows=16, shard_bytes=16 * 12 * 3)
SIZES = [(1, 1, 1), (3, 2, 1), (2, 2, 2), (5, 4, 3)]


def write(path, cases, fields=FIELDS):
    """Write a store as a build does: with every statistic, and a catalog of all cases and one more."""
    measured = [replace(case, statistics=case_statistics(case.variables, None)) for case in cases]
    entries = [(case.case_id, case.design_id, case.source, "kept") for case in measured]
    catalog = pd.DataFrame(entries, columns=["case_id", "design_id", "source", "status"])
    catalog = pd.concat([catalog, pd.DataFrame([case.statistics for case in measured])], axis=1)
    catalog.loc[len(catalog)] = ["other", "design", "s", "failed", *catalog.iloc[0, 4:]]
    with StoreWriter(path, fields, TINY) as writer:
        for case in measured:
            writer.append(case)
        writer.finish({case.case_id: SPLITS[i % 3] for i, case in enumerate(cases)}, catalog)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory, synthetic_case):
    """A store that no test changes; its cases 0 and 3 are for training."""
    cases = [synthetic_case(*size, seed=seed) for seed, size in enumerate(SIZES)]
    return write(tmp_path_factory.mktemp("sound") / "s.zarr", cases)


@pytest.fixture
def store(sound, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(sound, tmp_path / "s.zarr")


def codes(path, *, deep=True):
    return {problem.code for problem in verify_store(path, deep=deep)}


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def put(store, name, index, value):
    """Change values as a wrong program would: with files, copies of metadata and checksums that agree."""
    array = zarr.open_array(store / name, mode="r+")
    values = array[:]
    values[index] = value
    array[:] = values
    write_manifest(store)


def edit_metadata(store, name, edit):
    """Change the metadata of an array, and the copy in the root's alike."""
    own, root = store / name / "zarr.json", store / "zarr.json"
    metadata = json.loads(own.read_text())
    edit(metadata)
    own.write_text(json.dumps(metadata))
    metadata = json.loads(root.read_text())
    edit(metadata["consolidated_metadata"]["metadata"][name])
    root.write_text(json.dumps(metadata))
    write_manifest(store)


def edit_root(store, edit):
    metadata = json.loads((store / "zarr.json").read_text())
    edit(metadata["attributes"])
    (store / "zarr.json").write_text(json.dumps(metadata))
    write_manifest(store)


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_store(sound, deep):
    assert verify_store(sound, deep=deep) == []


def test_a_real_case(step2, tmp_path):
    from lpbf_dataset.build import BuildOptions, build_store
    from lpbf_dataset.sources.netfabb import NetfabbSource

    build_store([NetfabbSource(step2)], tmp_path / "s.zarr", BuildOptions(fields="all"))
    assert verify_store(tmp_path / "s.zarr", deep=True) == []


@pytest.mark.parametrize("sizes", [[], [(1, 1, 1)]])
def test_few_cases(tmp_path, synthetic_case, write_store, sizes):
    path = write_store(tmp_path / "s.zarr", [synthetic_case(*size) for size in sizes])
    assert codes(path) <= {Code.CATALOG_MISMATCH}  # The catalog of `write_store` makes up its volumes.


def test_few_fields(tmp_path, synthetic_case):
    path = write(tmp_path / "s.zarr", [synthetic_case(2, 1, 1)], ("displacement",))
    # Its maximum came from a field that is not stored, so it is not compared.
    assert verify_store(path, deep=True) == []


def test_a_store_of_an_earlier_version_has_no_manifest(store):
    (store / MANIFEST).unlink()
    (problem,) = verify_store(store, deep=True)
    assert problem.code == Code.NO_MANIFEST
    assert problem.is_warning


def test_a_store_elsewhere(store):
    memory = fsspec.filesystem("memory")
    try:
        memory.put(str(store), "/verify_bucket/s.zarr", recursive=True)
        assert verify_store("memory://verify_bucket/s.zarr", deep=True) == []
        flip(store / "displacement" / "c" / "0" / "0", 3)
        (store / "cells" / "c" / "0" / "0").unlink()
        memory.rm("/verify_bucket", recursive=True)
        memory.put(str(store), "/verify_bucket/s.zarr", recursive=True)
        found = codes("memory://verify_bucket/s.zarr")
        assert found >= {Code.CHECKSUM_MISMATCH, Code.MISSING_FILE, Code.MISSING_CHUNK}
    finally:
        memory.rm("/verify_bucket", recursive=True)


def test_a_place_that_cannot_be_listed(store, monkeypatch):
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.find", lambda *_, **__: {})
    assert codes(store) == {Code.FILES_NOT_LISTED}
    (store / "points" / "c" / "0" / "0").unlink()
    assert {Code.MISSING_FILE, Code.CORRUPT_CHUNK} <= codes(store)


@pytest.mark.parametrize("content", [None, "text", "folder", "other group", "broken"])
def test_no_store(tmp_path, content):
    path = tmp_path / "s.zarr"
    if content == "text":
        path.write_text("text")
    elif content is not None:
        path.mkdir()
    if content == "other group":
        zarr.create_group(path, overwrite=True)
    if content == "broken":
        (path / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"s\.zarr"):
        verify_store(path)


def test_a_newer_layout_is_not_verified(store):
    edit_root(store, lambda attributes: attributes.update(layout_version=99))
    with pytest.raises(StoreError, match="layout version 99; upgrade"):
        verify_store(store)


class TestFiles:
    @pytest.mark.parametrize("deep", [False, True])
    def test_deleted(self, store, deep):
        (store / "points" / "c" / "0" / "0").unlink()
        problems = verify_store(store, deep=deep)
        assert {problem.code for problem in problems} == {Code.MISSING_FILE, Code.MISSING_CHUNK}
        assert {problem.where for problem in problems} == {"points/c/0/0"}

    @pytest.mark.parametrize("deep", [False, True])
    def test_truncated(self, store, deep):
        path = store / "points" / "c" / "0" / "0"
        path.write_bytes(path.read_bytes()[:-10])
        assert Code.SIZE_MISMATCH in codes(store, deep=deep)
        assert not deep or Code.CORRUPT_CHUNK in codes(store)

    def test_swapped(self, store):
        first, second = (store / "points" / "c" / str(shard) / "0" for shard in (0, 1))
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
        where = {problem.where for problem in verify_store(store, deep=True)}
        assert {"points/c/0/0", "points/c/1/0"} <= where

    def test_flipped_in_a_chunk(self, store):
        flip(store / "displacement" / "c" / "0" / "0", 10)
        assert codes(store, deep=False) == set()
        assert Code.CHECKSUM_MISMATCH in codes(store)

    @pytest.mark.parametrize("name", ["case_id/c/0", "catalog/status/c/0", "zarr.json", "points/zarr.json"])
    def test_flipped_in_tables_and_metadata_shows_without_deep(self, store, name):
        flip(store / name, 20)
        assert Code.CHECKSUM_MISMATCH in codes(store, deep=False)

    def test_flipped_in_the_manifest(self, store):
        flip(store / MANIFEST, 3)
        assert codes(store) == {Code.BAD_MANIFEST}

    def test_strange(self, store):
        (store / "points" / "thesis.tex").write_text("")
        (problem,) = verify_store(store)
        assert (problem.code, problem.where) == (Code.UNEXPECTED_FILE, "points/thesis.tex")

    def test_a_chunk_that_does_not_decode_is_named_once(self, store):
        path = store / "edges" / "c" / "0" / "0"
        path.write_bytes(b"\0" * 20 + path.read_bytes()[20:])
        write_manifest(store)
        corrupt = [p for p in verify_store(store, deep=True) if p.code == Code.CORRUPT_CHUNK]
        assert [(p.where, p.message[:12]) for p in corrupt] == [("edges/c/0/0", "rows 0 to 15")]

    def test_a_chunk_missing_where_there_never_was_a_manifest(self, store):
        (store / MANIFEST).unlink()
        (store / "edges" / "c" / "0" / "0").unlink()
        assert codes(store, deep=False) == {Code.NO_MANIFEST, Code.MISSING_CHUNK}

    def test_checksums_of_chunks(self, store, tmp_path, monkeypatch, synthetic_case):
        monkeypatch.setattr(shards, "_compressor", lambda *_: [BloscCodec(typesize=4), Crc32cCodec()])
        path = write(tmp_path / "crc.zarr", [synthetic_case(3, 3, 3)])
        assert verify_store(path, deep=True) == []
        flip(path / "displacement" / "c" / "0" / "0", 100)
        write_manifest(path)
        assert Code.CORRUPT_CHUNK in codes(path)


class TestMetadata:
    @pytest.mark.parametrize(
        ("name", "edit", "code"),
        [
            ("points", lambda m: m["attributes"].update(units="m"), Code.WRONG_UNITS),
            ("case_volume", lambda m: m["attributes"].pop("units"), Code.MISSING_ATTRIBUTE),
            ("cells", lambda m: m["attributes"].pop("long_name"), Code.MISSING_ATTRIBUTE),
            ("node_count", lambda m: m["attributes"].pop("sample_dimension"), Code.MISSING_ATTRIBUTE),
            ("node_count", lambda m: m["attributes"].update(sample_dimension="x"), Code.BAD_METADATA),
            ("points", lambda m: m.update(data_type="int32", fill_value=-1), Code.WRONG_DTYPE),
            ("node_offset", lambda m: m.update(data_type="float64"), Code.WRONG_DTYPE),
            ("points", lambda m: m.update(dimension_names=["xyz", "node"]), Code.WRONG_DIMENSIONS),
            ("points", lambda m: m.pop("dimension_names"), Code.WRONG_DIMENSIONS),
            ("temperature", lambda m: m["shape"].append(1), Code.BAD_METADATA),
            ("temperature", lambda m: m["shape"].__setitem__(0, 7), Code.COUNTS_MISMATCH),
            ("split", lambda m: m["shape"].__setitem__(0, 10**12), Code.COUNTS_MISMATCH),
            ("points", lambda m: m.update(node_type="group"), Code.BAD_METADATA),
            ("points", lambda m: m.update(codecs=[]), Code.BAD_METADATA),
            ("split", lambda m: m["codecs"].append({"name": "rot13"}), Code.BAD_METADATA),
        ],
    )
    def test_of_an_array(self, store, name, edit, code):
        edit_metadata(store, name, edit)
        assert code in codes(store)

    def test_original_and_copy_differ(self, store):
        metadata = json.loads((store / "points" / "zarr.json").read_text())
        metadata["attributes"]["comment"] = "edited"
        (store / "points" / "zarr.json").write_text(json.dumps(metadata))
        write_manifest(store)
        (problem,) = verify_store(store, deep=True)
        assert (problem.code, problem.where) == (Code.BAD_METADATA, "points/zarr.json")

    def test_no_copies(self, store):
        metadata = json.loads((store / "zarr.json").read_text())
        del metadata["consolidated_metadata"]
        (store / "zarr.json").write_text(json.dumps(metadata))
        write_manifest(store)
        assert codes(store) == {Code.BAD_METADATA}

    @pytest.mark.parametrize("name", ["points", "case_id", "edge_count", "catalog/status"])
    def test_array_gone(self, store, name):
        shutil.rmtree(store / name)
        write_manifest(store)
        assert Code.MISSING_ARRAY in codes(store)

    @pytest.mark.parametrize("name", ["producer", "normalization"])
    def test_root_attribute_gone(self, store, name):
        edit_root(store, lambda attributes: attributes.pop(name))
        assert Code.MISSING_ATTRIBUTE in codes(store)

    def test_damage_to_the_root_leaves_it_a_store(self, store):
        (store / "zarr.json").write_text("{")
        assert codes(store) == {Code.SIZE_MISMATCH, Code.BAD_METADATA}

    @pytest.mark.parametrize("name", ["points", "catalog"])
    def test_an_array_that_the_copies_leave_out(self, store, name):
        metadata = json.loads((store / "zarr.json").read_text())
        del metadata["consolidated_metadata"]["metadata"][name]
        (store / "zarr.json").write_text(json.dumps(metadata))
        write_manifest(store)
        assert codes(store) == {Code.BAD_METADATA}


class TestTables:
    @pytest.mark.parametrize(
        ("name", "index", "value", "code"),
        [
            ("case_id", 1, "case_111_0", Code.DUPLICATE_CASE_ID),
            ("case_id", 1, "", Code.DUPLICATE_CASE_ID),
            ("case_id", 1, "another", Code.CATALOG_MISMATCH),
            ("split", 0, "training", Code.UNKNOWN_SPLIT),
            ("node_offset", 2, 9, Code.OFFSETS_OUT_OF_ORDER),
            ("cell_offset", [1, 2], [7, 1], Code.OFFSETS_OUT_OF_ORDER),
            ("edge_count", 3, 3, Code.COUNTS_MISMATCH),
            ("node_count", 0, -8, Code.COUNTS_MISMATCH),
            ("node_count", 0, 2**62, Code.COUNTS_MISMATCH),
            ("design_id", 0, "other", Code.CATALOG_MISMATCH),
            ("case_volume", 2, 9.0, Code.CATALOG_MISMATCH),
            ("catalog/status", 0, "rejected", Code.CATALOG_MISMATCH),
            ("catalog/status", 4, "kept", Code.CATALOG_MISMATCH),
            ("catalog/case_id", 1, "case_111_0", Code.CATALOG_MISMATCH),
            ("catalog/max_z", 1, float("nan"), Code.CATALOG_MISMATCH),
        ],
    )
    def test_value(self, store, name, index, value, code):
        put(store, name, index, value)
        assert code in codes(store, deep=False)

    def test_no_catalog(self, store):
        shutil.rmtree(store / "catalog")
        assert Code.MISSING_ARRAY in codes(store, deep=False)

    @pytest.mark.parametrize(
        ("edit", "code"),
        [
            (lambda attributes: attributes.pop("columns"), Code.MISSING_ATTRIBUTE),
            (lambda attributes: attributes.update(columns="case_id"), Code.CATALOG_MISMATCH),
            (lambda attributes: attributes["columns"].append(7), Code.MISSING_ARRAY),
        ],
    )
    def test_columns_of_the_catalog(self, store, edit, code):
        edit_metadata(store, "catalog", lambda metadata: edit(metadata["attributes"]))
        assert codes(store) == {code}

    def test_a_split_that_moved_changes_the_training_moments(self, store):
        put(store, "split", 1, "train")
        assert codes(store) == {Code.NORMALIZATION_MISMATCH}

    def test_cases_with_sound_tables_are_checked_beside_damaged_ones(self, store):
        put(store, "edge_offset", 1, 0)
        put(store, "displacement", 8, float("nan"))
        assert {Code.OFFSETS_OUT_OF_ORDER, Code.NOT_FINITE} <= codes(store)


class TestValues:
    @pytest.mark.parametrize(
        ("name", "index", "value", "code"),
        [
            ("displacement", (9, 1), np.inf, Code.NOT_FINITE),
            ("points", (0, 0), -np.inf, Code.NOT_FINITE),
            ("cells", (1, 3), 1000, Code.CONNECTIVITY_OUT_OF_RANGE),
            ("cells", (1, 3), -5, Code.CONNECTIVITY_OUT_OF_RANGE),
            ("edges", (0, 1), 2**31 - 1, Code.CONNECTIVITY_OUT_OF_RANGE),
            ("edges", 0, (3, 1), Code.EDGE_ORDER),
            ("edges", 0, (2, 2), Code.EDGE_ORDER),
            ("edges", 0, (0, 7), Code.EDGES_MISMATCH),
            ("cells", (1, slice(2)), (1, 0), Code.EDGES_MISMATCH),
            ("points", (8, 2), 0.5, Code.STATISTICS_MISMATCH),
            ("displacement", (8, 0), 99.0, Code.STATISTICS_MISMATCH),
            ("case_nodes", 1, 23, Code.STATISTICS_MISMATCH),
            ("case_max_z", 0, 1.001, Code.STATISTICS_MISMATCH),
            ("temperature", 0, 99.0, Code.NORMALIZATION_MISMATCH),
        ],
    )
    def test_of_a_case(self, store, name, index, value, code):
        put(store, name, index, value)
        assert code in codes(store)

    def test_the_case_and_the_variable_are_named(self, store):
        put(store, "displacement", 9, np.nan)
        problem = next(p for p in verify_store(store, deep=True) if p.code == Code.NOT_FINITE)
        assert problem.where == "case 'case_321_1', displacement"
        assert problem.message == "3 of 72 values are not finite"

    @pytest.mark.parametrize(
        "edit",
        [
            lambda moments: moments["temperature"].update(mean=25.0),
            lambda moments: moments["points"].update(std=[1.0, 1.0]),
            lambda moments: moments["points"].update(count=4),
            lambda moments: moments["points"].update(count="four"),
            lambda moments: moments["points"].update(mean=None),
            lambda moments: moments["points"].pop("max"),
            lambda moments: moments.pop("displacement"),
            lambda moments: moments.update(colour=moments["points"]),
        ],
    )
    def test_normalization(self, store, edit):
        edit_root(store, lambda attributes: edit(attributes["normalization"]))
        assert codes(store) == {Code.NORMALIZATION_MISMATCH}

    @pytest.mark.parametrize(
        ("sdf", "on_surface", "expected"),
        [
            ([0, -1], [True, False], 0),
            ([-0.1, -1], [True, False], 1),
            ([0, 1], [True, False], 1),
            ([0.1, 1], [True, False], 2),
        ],
    )
    def test_surface(self, sdf, on_surface, expected):
        variables = {"sdf": np.array(sdf, np.float32), "on_surface": np.array(on_surface)}
        found = [finding.code for finding in check_values(variables, {}, sdf_of_mesh=True)]
        assert found == [Code.SURFACE_MISMATCH] * expected
        # The surface of the part as designed need not pass through nodes of the mesh.
        assert list(check_values(variables, {}, sdf_of_mesh=False)) == []

    def test_edges_in_another_order(self, synthetic_case):
        variables = synthetic_case(3, 2, 2).variables
        reordered = {**variables, "edges": variables["edges"][::-1]}
        assert list(check_values(reordered, {}, sdf_of_mesh=False)) == []


def test_every_code_is_explained():
    assert EXPLANATIONS.keys() == set(Code)
    assert all(code.value == code.name.lower() for code in Code)


@pytest.mark.parametrize("seed", range(2))
def test_a_flipped_byte_in_any_file_is_found(store, seed):
    chosen = random.Random(seed)  # noqa: S311
    files = sorted(path for path in store.rglob("*") if path.is_file())
    for path in [*chosen.sample(files, 8), store / "zarr.json", store / MANIFEST]:
        intact = path.read_bytes()
        position = chosen.randrange(len(intact))
        damaged = bytearray(intact)
        damaged[position] ^= chosen.randrange(1, 256)
        path.write_bytes(damaged)
        found = verify_store(store, deep=True)
        assert [p for p in found if not p.is_warning], f"{path} at {position}: {damaged[position]}"
        path.write_bytes(intact)
    assert verify_store(store, deep=True) == []


def test_without_a_manifest_damage_may_go_unseen_but_breaks_nothing(store):
    chosen = random.Random(0)  # noqa: S311
    (store / MANIFEST).unlink()
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.parent != store)
    for path in chosen.sample(files, 15):
        intact = path.read_bytes()
        damaged = bytearray(intact)
        for position in chosen.choices(range(len(intact)), k=2):
            damaged[position] ^= chosen.randrange(1, 256)
        path.write_bytes(damaged if chosen.random() < 0.8 else damaged[: len(damaged) // 2])
        verify_store(store, deep=True)
        path.write_bytes(intact)


def test_every_variable_may_be_stored(tmp_path, synthetic_case):
    case = synthetic_case(2, 2, 1, optional=True)
    absent = {
        name: np.ones((case.node_count, *variable.row_shape), variable.dtype)
        for name, variable in VARIABLES.items()
        if name not in case.variables
    }
    fields = [name for name, variable in VARIABLES.items() if variable.dim == "node" and name != "points"]
    path = write(tmp_path / "s.zarr", [replace(case, variables={**case.variables, **absent})], fields)
    assert verify_store(path, deep=True) == []
    assert set(VARIABLES) <= {entry.name for entry in path.iterdir()}


@pytest.mark.parametrize("value", [False, True])
def test_chunks_of_one_boolean_are_not_taken_for_missing(tmp_path, synthetic_case, value):
    case = synthetic_case(5, 4, 3)
    on_surface = np.full(case.node_count, value)
    case = replace(case, variables={**case.variables, "on_surface": on_surface})
    path = write(tmp_path / "s.zarr", [case], (*FIELDS, "on_surface"))
    assert verify_store(path, deep=True) == []
    np.testing.assert_array_equal(open_dataset(path)[0].on_surface, on_surface)


def test_the_build_configuration_tells_to_what_distances_are(tmp_path, synthetic_case):
    case = synthetic_case(2, 2, 2)
    outside = {"sdf": np.ones(case.node_count, np.float32)}
    case = replace(case, variables={**case.variables, **outside})
    for surface, expected in (("mesh", {Code.SURFACE_MISMATCH}), ("stl", set())):
        path = tmp_path / f"{surface}.zarr"
        with StoreWriter(path, (*FIELDS, "sdf")) as writer:
            writer.append(case)
            catalog = pd.DataFrame({"case_id": [case.case_id], "status": ["kept"]})
            writer.finish({case.case_id: "train"}, catalog, {"build": {"sdf_surface": surface}})
        found = {problem.code for problem in verify_store(path, deep=True)}
        assert found & {Code.SURFACE_MISMATCH} == expected
