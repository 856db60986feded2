"""What is wrong with the histories of a store."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import zarr

from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.curation.statistics import case_statistics
from lpbf_dataset.schema import field_names, history_variables
from lpbf_dataset.sources.base import Step
from lpbf_dataset.store.assemble import assemble, consolidate
from lpbf_dataset.store.case_rows import SpooledRows, spool_case
from lpbf_dataset.store.layout import Encoding
from lpbf_dataset.store.manifest import write_manifest
from lpbf_dataset.store.rounding import QUANTIZATION_VARIABLE, round_mantissa
from lpbf_dataset.store.tables import Member
from lpbf_dataset.store.validate import check_case, check_history
from lpbf_dataset.store.verification.problems import Code
from lpbf_dataset.store.verify import verify_store

FIELDS = field_names(include_optional=False)
OTHER_MOMENTS = {(Code.NORMALIZATION_MISMATCH, "zarr.json")}
"""What a changed value may bring about, too: stored moments are those of what was written."""
KINDS = ("deposited", "dwelt", "deposited", "dwelt", "cooled", "removed")


def steps_of(first, last):
    for number, kind in enumerate(KINDS):
        case = first if number < 2 else last
        fields = {name: case.variables[name] + (0 if kind == "removed" else number + 1) for name in FIELDS}
        yield Step(number, kind, 100.0 * number, case.points, case.cells, fields)


def write(folder, spool, cases, bits=None):
    """Write a store of pairs of the first layers and the whole of a case; without layers, no history."""
    members = []
    for first, last in cases:
        table, variables = lay_out_history(steps_of(first, last) if first else (), FIELDS)
        check_history(last.case_id, table, variables)
        path = spool / f"{last.case_id}.safetensors"
        spool_case(path, {**last.variables, **variables}, {})
        counts = {**check_case(last, FIELDS), **table.counts}
        statistics = case_statistics(last.variables, None)
        members.append(
            Member(
                last.case_id, last.design_id, last.source, counts, SpooledRows(path), statistics, None, table
            )
        )
    catalog = pd.DataFrame(
        [(m.case_id, m.design_id, m.source, "kept") for m in members],
        columns=["case_id", "design_id", "source", "status"],
    )
    splits = dict.fromkeys((member.case_id for member in members), "train")
    encoding = Encoding(history_bits=bits)
    assemble(folder, members, FIELDS, splits, catalog, {}, encoding, history=history_variables(FIELDS))
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory, synthetic_case):
    """Return a store that no test changes; the last of its cases has no history."""
    spool = tmp_path_factory.mktemp("sound")
    (spool / "s.zarr").mkdir()
    sizes = [((2, 2, 1), (2, 2, 3)), ((1, 1, 2), (1, 1, 4))]
    cases = [(synthetic_case(*low), synthetic_case(*high, case_id=f"c{high[2]}")) for low, high in sizes]
    return write(spool / "s.zarr", spool, [*cases, (None, synthetic_case(1, 2, 1, case_id="without"))])


@pytest.fixture(scope="module")
def rounded(tmp_path_factory, synthetic_case):
    """Return a store whose fields are rounded to 9 bits, and that no test changes."""
    spool = tmp_path_factory.mktemp("rounded")
    (spool / "s.zarr").mkdir()
    cases = [(synthetic_case(1, 1, 2), synthetic_case(1, 1, 4, case_id="c4"))]
    return write(spool / "s.zarr", spool, cases, bits=9)


@pytest.fixture
def store(sound, tmp_path):
    """Return a copy to spoil."""
    return shutil.copytree(sound, tmp_path / "s.zarr")


def spoil(store, name, index, value):
    """Change a value as if it had been written so."""
    zarr.open_array(store / name, mode="r+")[index] = value
    write_manifest(store)


def problems(store, *, deep=False):
    return {(problem.code, problem.where.rpartition(" ")[2]) for problem in verify_store(store, deep=deep)}


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_store(sound, deep):
    assert verify_store(sound, deep=deep) == []


@pytest.mark.parametrize(
    ("name", "index", "value", "flawed"),
    [
        ("step_kind", 4, 0, {"step_group"}),
        ("step_kind", 3, 2, set()),
        ("step_kind", 2, 2, {"step_kind", "step_group"}),
        ("step_kind", 5, 9, {"step_kind"}),
        ("step_time", 3, -1.0, {"step_time"}),
        ("step_group", 1, 7, {"step_group"}),
        ("step_mesh", 5, 2, {"step_mesh"}),
        ("step_mesh", 4, 0, {"step_mesh", "step_node_count"}),
        ("step_mesh", 7, -1, {"step_fault", "step_node_count"}),
        ("step_height", 0, np.nan, {"step_height"}),
        ("step_fault", 2, "lost", {"step_fault"}),
    ],
)
def test_steps_that_contradict_each_other(store, name, index, value, flawed):
    spoil(store, name, index, value)
    assert problems(store) == {(Code.STEPS_MISMATCH, column) for column in flawed}


@pytest.mark.parametrize("name", ["step_count", "mesh_count", "step_node_count", "mesh_cell_offset"])
def test_rows_that_do_not_lie_end_to_end(store, name):
    spoil(store, name, 1, 1)
    assert {code for code, _ in problems(store)} <= {Code.COUNTS_MISMATCH, Code.OFFSETS_OUT_OF_ORDER}
    assert problems(store)
    with pytest.raises(StoreError, match="is damaged"):
        _ = open_dataset(store)["c4"].steps[0]


def test_an_array_that_is_gone(store):
    shutil.rmtree(store / "step_time")
    consolidate(zarr.open_group(store, mode="r+", use_consolidated=False))
    write_manifest(store)
    assert (Code.MISSING_ARRAY, "step_time") in problems(store)
    with pytest.raises(StoreError, match="no array 'step_time'"):
        open_dataset(store)


@pytest.mark.parametrize(
    ("name", "index", "value", "code"),
    [
        ("history_temperature", 3, np.inf, Code.NOT_FINITE),
        ("history_cells", (0, 2), 1000, Code.CONNECTIVITY_OUT_OF_RANGE),
        ("history_displacement", (-1, 2), 5.0, Code.STEPS_MISMATCH),
    ],
)
def test_values(store, name, index, value, code):
    spoil(store, name, index, value)
    assert problems(store) == set()
    assert problems(store, deep=True) - OTHER_MOMENTS == {(code, name)}


@pytest.mark.parametrize(
    "edit",
    [
        lambda moments: moments["history_temperature"].update(mean=25.0),
        lambda moments: moments.pop("history_displacement"),
        lambda moments: moments.update(history_points=moments["points"]),
    ],
)
def test_moments(store, edit):
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    moments = dict(group.attrs["normalization"])
    edit(moments)
    group.attrs["normalization"] = moments
    consolidate(group)
    write_manifest(store)
    assert problems(store) == set()
    assert {code for code, _ in problems(store, deep=True)} == {Code.NORMALIZATION_MISMATCH}


def test_values_that_do_not_decode(store):
    (file,) = (path for path in (store / "history_von_mises_stress" / "c").rglob("*") if path.is_file())
    contents = bytearray(file.read_bytes())
    contents[20:60] = bytes(40)
    file.write_bytes(contents)
    write_manifest(store)
    codes = {code for code, _ in problems(store, deep=True)}
    assert codes <= {Code.CORRUPT_CHUNK, Code.STEPS_MISMATCH, Code.NOT_FINITE}
    assert codes


class TestOfRoundedFields:
    @pytest.fixture
    def store(self, rounded, tmp_path):
        """Return a copy to spoil."""
        return shutil.copytree(rounded, tmp_path / "s.zarr")

    @staticmethod
    def change_attributes(store, name, **changed):
        """Change attributes of an array as if it had been written so; None removes one."""
        group = zarr.open_group(store, mode="r+", use_consolidated=False)
        attributes = {**group[name].attrs, **changed}
        group[name].attrs.put({key: value for key, value in attributes.items() if value is not None})
        consolidate(group)
        write_manifest(store)

    @pytest.mark.parametrize("deep", [False, True])
    def test_a_sound_store(self, rounded, deep):
        assert verify_store(rounded, deep=deep) == []

    def test_the_last_step_is_the_final_state_rounded(self, rounded):
        case = open_dataset(rounded)["c4"]
        assert not np.array_equal(case.steps[-1].displacement, case.displacement)
        for name in FIELDS:
            expected = round_mantissa(case.variables[name], 9)
            np.testing.assert_array_equal(case.steps[-1].variables[name], expected)

    @pytest.mark.parametrize(("index", "more"), [((3, 2), set()), ((-1, 2), {Code.STEPS_MISMATCH})])
    def test_a_value_that_is_not_rounded(self, store, index, more):
        value = np.float32(0.1)
        assert round_mantissa(value, 9) != value
        spoil(store, "history_displacement", index, value)
        assert problems(store) == set()
        found = problems(store, deep=True) - OTHER_MOMENTS
        assert found == {(code, "history_displacement") for code in {Code.NOT_ROUNDED, *more}}

    def test_another_value_of_the_last_step(self, store):
        spoil(store, "history_temperature", -1, np.float32(-2.0))
        found = problems(store, deep=True) - OTHER_MOMENTS
        assert found == {(Code.STEPS_MISMATCH, "history_temperature")}

    def test_a_store_that_claims_what_it_has_not(self, store):
        """Values of 9 bits are none of 5; that these are rounded at all does not count."""
        for name in FIELDS:
            more = {"quantization_nsb": 5, "quantization_maximum_relative_error": 2.0**-6}
            self.change_attributes(store, f"history_{name}", **more)
        assert problems(store) == set()
        assert (Code.NOT_ROUNDED, "history_displacement") in problems(store, deep=True)

    @pytest.mark.parametrize(
        ("name", "changed", "code"),
        [
            ("history_displacement", {"quantization_nsb": 0}, Code.BAD_METADATA),
            ("history_displacement", {"quantization_nsb": "9"}, Code.BAD_METADATA),
            ("history_displacement", {"quantization_nsb": None}, Code.BAD_METADATA),
            ("history_displacement", {"quantization": None}, Code.MISSING_ATTRIBUTE),
            ("history_displacement", {"quantization": "other"}, Code.BAD_METADATA),
            (
                "history_displacement",
                {"quantization_maximum_relative_error": 2.0**-11},
                Code.BAD_METADATA,
            ),
            ("history_points", {"quantization_nsb": 9}, Code.BAD_METADATA),
            ("displacement", {"quantization_nsb": 9}, Code.BAD_METADATA),
            (QUANTIZATION_VARIABLE, {"algorithm": "bitgroom"}, Code.BAD_METADATA),
            (QUANTIZATION_VARIABLE, {"algorithm": None}, Code.MISSING_ATTRIBUTE),
            (QUANTIZATION_VARIABLE, {"implementation": None}, Code.MISSING_ATTRIBUTE),
        ],
    )
    def test_attributes(self, store, name, changed, code):
        self.change_attributes(store, name, **changed)
        assert problems(store) == {(code, name)}

    def test_attributes_that_make_no_sense(self, store):
        self.change_attributes(store, "history_displacement", quantization_nsb="9")
        with pytest.raises(StoreError, match=r"s\.zarr is damaged, .* quantization_nsb is '9'"):
            open_dataset(store)
        # As if it were not rounded, it differs from the final state.
        codes = {code for code, _ in problems(store, deep=True)}
        assert codes == {Code.BAD_METADATA, Code.STEPS_MISMATCH}

    def test_a_quantization_variable_that_is_gone(self, store):
        shutil.rmtree(store / QUANTIZATION_VARIABLE)
        consolidate(zarr.open_group(store, mode="r+", use_consolidated=False))
        write_manifest(store)
        assert problems(store) == {(Code.MISSING_ARRAY, QUANTIZATION_VARIABLE)}


def test_what_cannot_be_stored_is_refused(synthetic_case):
    first, last = synthetic_case(1, 1, 1), synthetic_case(1, 1, 2)
    table, variables = lay_out_history(steps_of(first, last), FIELDS)
    broken = variables["history_cells"].copy()
    broken[1] += 5
    with pytest.raises(StoreError, match=r"history_cells.*mesh 1 names nodes"):
        check_history("a", table, {**variables, "history_cells": broken})
    fewer = replace(table, step_node_count=table.step_node_count - 1)
    with pytest.raises(StoreError, match="step_nodes"):
        check_history("a", fewer, variables)
