from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpbf_dataset.sources.ensight import (
    EnsightError,
    Geometry,
    Part,
    TruncatedError,
    read_geometry,
    read_variable,
    write_geometry,
    write_variable,
)

ENCODINGS = [("binary", "little"), ("binary", "big"), ("ascii", "little")]
CUBE = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], np.float32
)


def make_geometry(rng: np.random.Generator) -> Geometry:
    """Two parts; the first has two element types."""
    first = Part(
        rng.normal(size=(30, 3)).astype(np.float32),
        {
            "hexa8": rng.integers(0, 30, (5, 8)).astype(np.int32),
            "tetra4": rng.integers(0, 30, (3, 4)).astype(np.int32),
        },
    )
    second = Part(CUBE, {"hexa8": np.arange(8, dtype=np.int32)[None]}, 2, "the cube")
    return Geometry((first, second), ("first line", "second line"))


def geometry_bytes(geometry: Geometry, encoding: str = "binary", byteorder: str = "little") -> bytes:
    stream = BytesIO()
    write_geometry(stream, geometry, encoding=encoding, byteorder=byteorder)
    return stream.getvalue()


def variable_bytes(geometry: Geometry, values: dict, location: str = "node", **options: str) -> bytes:
    stream = BytesIO()
    write_variable(stream, "a variable", geometry, values, location, **options)
    return stream.getvalue()


CUBE_GEOMETRY = Geometry((Part(CUBE, {"hexa8": np.arange(8, dtype=np.int32)[None]}),))


@pytest.mark.parametrize(("encoding", "byteorder"), ENCODINGS)
def test_geometry_round_trip(tmp_path, encoding, byteorder):
    geometry = make_geometry(np.random.default_rng(0))
    write_geometry(tmp_path / "a.geo", geometry, encoding=encoding, byteorder=byteorder)
    read = read_geometry(tmp_path / "a.geo")
    assert read.descriptions == geometry.descriptions
    assert [part.number for part in read.parts] == [1, 2]
    for part, expected in zip(read.parts, geometry.parts, strict=True):
        assert part.description == expected.description
        assert part.points.dtype == np.float32
        # ASCII keeps six digits.
        np.testing.assert_allclose(
            part.points, expected.points, rtol=0 if encoding == "binary" else 6e-6, atol=0
        )
        assert part.cells.keys() == expected.cells.keys()
        for element_type, cells in part.cells.items():
            assert cells.dtype == np.int32
            np.testing.assert_array_equal(cells, expected.cells[element_type])


@pytest.mark.parametrize(("encoding", "byteorder"), ENCODINGS)
@pytest.mark.parametrize("location", ["node", "element"])
@pytest.mark.parametrize("components", [1, 3, 6, 9])
def test_variable_round_trip(encoding, byteorder, location, components):
    rng = np.random.default_rng(1)
    geometry = make_geometry(rng)
    shape = () if components == 1 else (components,)
    values = {
        part.number: rng.normal(size=(sum(part.value_counts(location).values()), *shape)).astype(np.float32)
        for part in geometry.parts
    }
    data = variable_bytes(geometry, values, location, encoding=encoding, byteorder=byteorder)
    read = read_variable(BytesIO(data), geometry, components, location)
    assert read.keys() == values.keys()
    for number, array in read.items():
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        np.testing.assert_allclose(
            array, values[number], rtol=0 if encoding == "binary" else 6e-6, atol=0, strict=True
        )


def test_variable_may_leave_out_a_part():
    geometry = make_geometry(np.random.default_rng(2))
    values = {2: np.arange(8, dtype=np.float32)}
    read = read_variable(BytesIO(variable_bytes(geometry, values)), geometry, 1)
    assert list(read) == [2]


def test_writing_the_wrong_number_of_values_is_refused():
    with pytest.raises(ValueError, match="7 values for 8 nodes"):
        variable_bytes(CUBE_GEOMETRY, {1: np.zeros(7)})


def slow_read(data: bytes, byteorder: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a C binary geometry of one hexa8 part without ids, number by number."""
    prefix = {"little": "<", "big": ">"}[byteorder]
    position = 6 * 80 + 4 + 80 + 80

    def number(kind: str) -> float:
        nonlocal position
        position += 4
        return struct.unpack(prefix + kind, data[position - 4 : position])[0]

    node_count = number("i")
    columns = [[number("f") for _ in range(node_count)] for _ in "xyz"]
    position += 80
    cells = [[number("i") - 1 for _ in range(8)] for _ in range(number("i"))]
    return np.array(columns).T, np.array(cells)


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_binary_reader_agrees_with_its_slow_twin(byteorder):
    rng = np.random.default_rng(3)
    cells = rng.integers(0, 40, (7, 8)).astype(np.int32)
    geometry = Geometry((Part(rng.normal(size=(40, 3)).astype(np.float32), {"hexa8": cells}),))
    data = geometry_bytes(geometry, byteorder=byteorder)
    points, cells = slow_read(data, byteorder)
    part = read_geometry(BytesIO(data)).parts[0]
    np.testing.assert_array_equal(part.points, points)
    np.testing.assert_array_equal(part.cells["hexa8"], cells)


def text(line: str) -> bytes:
    return line.encode().ljust(80)


def integers(values, byteorder: str = "<") -> bytes:
    return np.asarray(values, byteorder + "i4").tobytes()


def binary_cube(
    header: str = "C Binary",
    node_ids: str = "off",
    cell_ids: str = "off",
    *,
    extents: bool = False,
    node_count: int = 8,
    cell_count: int = 1,
    connectivity=range(1, 9),
) -> list[bytes]:
    """Return the records of a cube."""
    records = [
        text(header),
        text("a"),
        text("b"),
        text(f"node id {node_ids}"),
        text(f"element id {cell_ids}"),
    ]
    if extents:
        records += [text("extents"), np.arange(6, dtype="<f4").tobytes()]
    records += [text("part"), integers(1), text("cube"), text("coordinates"), integers(node_count)]
    if node_ids in {"given", "ignore"}:
        records.append(integers(np.arange(8)[::-1] + 100))
    records += [CUBE[:, axis].astype("<f4").tobytes() for axis in range(3)]
    records += [text("hexa8"), integers(cell_count)]
    if cell_ids in {"given", "ignore"}:
        records.append(integers(77))
    return [*records, integers(list(connectivity))]


def assert_is_cube(geometry: Geometry) -> None:
    (part,) = geometry.parts
    np.testing.assert_array_equal(part.points, CUBE)
    np.testing.assert_array_equal(part.cells["hexa8"], [range(8)])


@pytest.mark.parametrize("header", ["C Binary", "Fortran Binary"])
@pytest.mark.parametrize("node_ids", ["off", "assign", "given", "ignore"])
@pytest.mark.parametrize("cell_ids", ["off", "given"])
def test_ids_do_not_change_the_mesh(header, node_ids, cell_ids):
    assert_is_cube(read_geometry(BytesIO(b"".join(binary_cube(header, node_ids, cell_ids)))))


def test_extents_are_passed_over():
    assert_is_cube(read_geometry(BytesIO(b"".join(binary_cube(extents=True)))))


def framed(records: list[bytes]) -> bytes:
    return b"".join(integers(len(record)) + record + integers(len(record)) for record in records)


def test_fortran_record_markers():
    assert_is_cube(read_geometry(BytesIO(framed(binary_cube("Fortran Binary")))))
    displacement = np.arange(24, dtype=np.float32).reshape(8, 3)
    records = [text("a"), text("part"), integers(1), text("coordinates"), displacement.tobytes("F")]
    values = read_variable(BytesIO(framed(records)), CUBE_GEOMETRY, 3)
    np.testing.assert_array_equal(values[1], displacement)


def test_wrong_record_marker():
    data = bytearray(framed(binary_cube("Fortran Binary")))
    data[88:92] = integers(81)
    with pytest.raises(EnsightError, match="record marker 81 where a record of 80 bytes"):
        read_geometry(BytesIO(bytes(data)))


ASCII_CUBE = """EnSight Gold Geometry File

node id given
element id off
extents
 0.00000e+00 1.00000e+00
 0.00000e+00 1.00000e+00
 0.00000e+00 1.00000e+00
part
         1

coordinates
         8
1\n2\n3\n4\n5\n6\n7\n8
0 1 1 0 0 1 1 0
 0.000000E+00\n0.\n1\n1.0\n0.0d0\n0\n1\n1.00000e+00
0\n0\n0\n0\n1\n1\n1\n1
hexa8
         1
         1         2         3         4         5         6         7         8
"""


def test_ascii_as_netfabb_writes_it_and_in_free_format():
    # The first description, or that of a part, may be blank; numbers may share a line.
    assert_is_cube(read_geometry(BytesIO(ASCII_CUBE.replace("d0", "").encode())))
    assert_is_cube(read_geometry(BytesIO(ASCII_CUBE.replace("d0", "").replace("\n", "\r\n").encode())))


def test_ascii_exponent_of_three_digits():
    # Fortran writes 1.5E-120 as 1.500000-120 in seven digits.
    data = b"a\npart\n 1\ncoordinates\n" + b" 1.500000-120\n-2.000000E+00\n" * 4
    values = read_variable(BytesIO(data), CUBE_GEOMETRY, 1)[1]
    np.testing.assert_array_equal(values, [0, -2] * 4)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.0d0", "0.0d0", "not a number"),
        ("0.0d0", "********", "not a number"),
        ("coordinates\n         8", "coordinates\n        -8", "negative count"),
        ("coordinates\n         8", "coordinates\n 99999999999", "32 bits"),
        ("coordinates\n         8", "coordinates\n 999999999", "numbers are due"),
        ("        8\n", "        9\n", "refer to nodes 1 to 9"),
        ("hexa8", "nfaced", "element type 'nfaced'"),
        ("0 1 1 0 0 1 1 0", "0 1 1 0 0 1 1 0 5", "more numbers than are due"),
    ],
)
def test_malformed_ascii(old, new, message):
    broken = new.join(ASCII_CUBE.rsplit(old, 1))
    if "d0" not in old:
        broken = broken.replace("d0", "")
    with pytest.raises(EnsightError, match=message):
        read_geometry(BytesIO(broken.encode()))


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        (binary_cube(node_count=2**31 - 1), TruncatedError, "8589934588 bytes are due"),
        (binary_cube(cell_count=10**9), TruncatedError, "are left"),
        (binary_cube(node_count=-1), EnsightError, "negative count -1"),
        (binary_cube(cell_count=-5), EnsightError, "negative count -5"),
        (
            binary_cube(connectivity=range(8)),
            EnsightError,
            "refer to nodes 0 to 7, but nodes count from 1 to 8",
        ),
        (binary_cube(connectivity=[1, 2, 3, 4, 5, 6, 7, -8]), EnsightError, "refer to nodes -8 to 7"),
        (binary_cube(node_ids="maybe"), EnsightError, "'node id maybe' where"),
        (binary_cube()[:5], TruncatedError, "before the first part"),
        ([*binary_cube(), *binary_cube()[5:]], EnsightError, "part 1 occurs twice"),
        ([*binary_cube(), *binary_cube()[-3:]], EnsightError, "two blocks of hexa8"),
        ([*binary_cube(), text("block")], EnsightError, "element type 'block'"),
        ([text("C Binary"), text("BEGIN TIME STEP")], EnsightError, "several time steps"),
        ([], TruncatedError, "file ends"),
    ],
)
def test_malformed_binary(records, error, message):
    with pytest.raises(error, match=message):
        read_geometry(BytesIO(b"".join(records)))


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        ([text("a")], TruncatedError, "file ends"),
        ([text("a"), text("part"), integers(2)], EnsightError, "part 2 is not in the geometry"),
        ([text("a"), text("part"), integers(1)], TruncatedError, "no values for coordinates"),
        (
            [text("a"), text("part"), integers(1), text("hexa8")],
            EnsightError,
            "'hexa8' where coordinates is due",
        ),
        (
            [text("a"), text("part"), integers(1), text("coordinates"), bytes(4 * 8), b"more"],
            TruncatedError,
            "80 bytes are due",
        ),
    ],
)
def test_malformed_variable(records, error, message):
    with pytest.raises(error, match=message):
        read_variable(BytesIO(b"".join(records)), CUBE_GEOMETRY, 1)


@pytest.mark.parametrize(("encoding", "byteorder"), ENCODINGS)
def test_every_truncation_is_noticed(encoding, byteorder):
    data = geometry_bytes(CUBE_GEOMETRY, encoding, byteorder)
    values = variable_bytes(CUBE_GEOMETRY, {1: np.ones(8)}, encoding=encoding, byteorder=byteorder)
    # A file without its cells is whole, and ASCII may lose digits of its last number unnoticed.
    without_cells = data.index(b"hexa8")
    for end in {*range(0, len(data) - 11, 7)} - {*range(without_cells - 13, without_cells + 1)}:
        with pytest.raises(EnsightError):
            read_geometry(BytesIO(data[:end]))
    for end in range(0, len(values) - 13, 7):
        with pytest.raises(EnsightError):
            read_variable(BytesIO(values[:end]), CUBE_GEOMETRY, 1)


@given(st.data())
def test_damaged_bytes_raise_nothing_else(data):
    encoding, byteorder = data.draw(st.sampled_from(ENCODINGS))
    damaged = bytearray(geometry_bytes(CUBE_GEOMETRY, encoding, byteorder))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(EnsightError):
        read_geometry(BytesIO(bytes(damaged)))
    with suppress(EnsightError):
        read_variable(BytesIO(bytes(damaged)), CUBE_GEOMETRY, 3)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_else(data):
    with pytest.raises(EnsightError):
        read_geometry(BytesIO(data))
    with pytest.raises(EnsightError):
        read_variable(BytesIO(data), CUBE_GEOMETRY, 1)


def test_text_that_is_not_utf8_is_kept_readable():
    records = binary_cube()
    records[1] = "für Élise".encode("latin-1").ljust(80)
    records[2] = (b"terminated\0garbage \xff").ljust(80)
    assert read_geometry(BytesIO(b"".join(records))).descriptions == ("f\ufffdr \ufffdlise", "terminated")
