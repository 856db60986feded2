from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.sources.ensight import (
    CaseFile,
    EnsightError,
    FileSeries,
    TimeSet,
    VariableSeries,
    read_case,
    write_case,
)

MINIMAL = """FORMAT
type: ensight gold
GEOMETRY
model: 2 .\\run_*.geo
VARIABLE
# a comment
constant per case: density 7.8
vector per node: 1 Displacement  my results/run_****.dis.ens
scalar per element: 1 Structure_type run_*.typ.ens
TIME
time set: 1 results
number of steps: 3
filename numbers: 2
 4 6
time values: 0.5 1.5
 2.5
TIME
time set: 2
number of steps: 2
filename start number: 7
filename increment: 2
time values:
 0.5
 1.5
"""


def parse(text: str) -> CaseFile:
    return read_case(BytesIO(text.encode()))


def test_parse():
    case = parse(MINIMAL)
    assert case.geometry == FileSeries("./run_*.geo", 2)
    assert case.geometry.file_name(12) == "./run_12.geo"
    displacement, structure = case.variables
    assert displacement == VariableSeries("my results/run_****.dis.ens", 1, "Displacement", "vector", "node")
    assert displacement.file_name(12) == "my results/run_0012.dis.ens"
    assert displacement.components == 3
    assert structure.location == "element"
    assert case.time_sets == {1: TimeSet((0.5, 1.5, 2.5), (2, 4, 6)), 2: TimeSet((0.5, 1.5), (7, 9))}


def test_static_geometry_and_windows_line_ends():
    case = parse("FORMAT\r\ntype:\tensight gold\r\n\r\nGEOMETRY\r\nmodel: a.geo\r\n")
    assert case == CaseFile(FileSeries("a.geo"))


def test_round_trip(tmp_path):
    case = parse(MINIMAL)
    write_case(tmp_path / "a.case", case)
    assert read_case(tmp_path / "a.case") == case


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ensight gold", "ensight", "no line 'type: ensight gold'"),
        ("model:", "measured:", "no line 'model:'"),
        ("model: 2", "model: 1 1", "file sets"),
        ("model: 2", "model: 3", "time set 3, which is not given"),
        (".geo", ".geo change_coords_only", "change_coords_only"),
        ("number of steps: 3", "number of steps: 4", "declares 4 steps and has 3"),
        ("number of steps: 3", "number of steps: 99999999999999", "declares 99999999999999 steps"),
        ("number of steps: 3", "number of steps: many", "needs one integer, not 'many'"),
        ("number of steps: 3\n", "", "needs one integer, not 'nothing'"),
        (" 4 6", " 4", "3 times for 2 file numbers"),
        (" 4 6", " 4 x", "invalid literal"),
        ("2.5", "later", "could not convert"),
        ("time set: 1 results\n", "", "stands before any 'time set:'"),
    ],
)
def test_malformed(old, new, message):
    assert old in MINIMAL
    with pytest.raises(EnsightError, match=message):
        parse(MINIMAL.replace(old, new, 1))


@given(st.binary(max_size=300), st.integers(0, len(MINIMAL)))
def test_damage_raises_nothing_else(junk, position):
    data = MINIMAL.encode()
    with suppress(EnsightError):
        read_case(BytesIO(data[:position] + junk + data[position:]))


def test_absurdly_long_numbers_are_no_numbers():
    digits = "9" * 10_000
    assert parse(MINIMAL.replace("model: 2", f"model: {digits}")).geometry.time_set is None
    with pytest.raises(EnsightError):
        parse(MINIMAL.replace("time set: 1 results", f"time set: {digits}"))
    with pytest.raises(EnsightError):
        parse(MINIMAL.replace(" 4 6", f" 4 {digits}"))
