from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.npz.npy import read_array, read_object


def npy(array: object, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), version=version)
    return stream.getvalue()


def with_header(text: str, body: bytes = b"") -> bytes:
    header = text.encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def assert_refused(contents: bytes, row_shape: tuple[int, ...] = ()) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read_array(contents, row_shape)
    return caught.value


@given(
    arrays.arrays(
        arrays.boolean_dtypes()
        | arrays.integer_dtypes(endianness="?")
        | arrays.floating_dtypes(endianness="?"),
        st.tuples(st.integers(0, 5), st.integers(1, 3)),
    ),
    st.sampled_from("CF"),
    st.sampled_from([(1, 0), (2, 0)]),
)
@settings(deadline=None)
def test_reads_what_numpy_writes(array, order, version):
    contents = npy(np.asarray(array, order=order), version)
    read = read_array(contents, array.shape[1:])
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_scalars_may_be_a_column(shape):
    assert read_array(npy(np.arange(4).reshape(shape)), ()).shape == (4,)


@pytest.mark.parametrize("shape", [(), (4, 2), (4, 1, 1), (2, 2, 1)])
def test_other_shapes_are_refused(shape):
    error = assert_refused(npy(np.zeros(shape)))
    assert error.reason is FailureReason.MALFORMED_FILE
    assert f"has shape {shape}, not (rows)" in error.detail
    assert "not (rows, 3)" in assert_refused(npy(np.zeros((4, 2))), (3,)).detail


@pytest.mark.parametrize(
    "array", [np.zeros(2, "c8"), np.zeros(2, "U3"), np.zeros(2, "M8[s]"), np.zeros(2, "i4,f4")]
)
def test_what_is_not_numbers_is_refused(array):
    assert "not numbers" in assert_refused(npy(array)).detail


def test_truncated_data_are_told_from_malformed():
    error = assert_refused(npy(np.zeros(4))[:-1])
    assert error.reason is FailureReason.TRUNCATED_FILE
    assert "31 of 32 bytes" in error.detail


@pytest.mark.parametrize(
    "shape",
    ["(10**30,)", "(-1,)", "(True,)", f"({10**15},)", "(1.5,)", "[4]", "4", "('a',)", f"(0, {2**80})"],
)
def test_shapes_make_no_memory(shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    assert_refused(with_header(header, bytes(32)))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "[]",
        "{'descr': '<f8'",
        "__import__('os').system('true')",
        "{'descr': ['<f8'] * 9, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': ('<f8', (-1,)), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f8'), ('a', '<f8')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}",
        "{[]: 1}",
        "-" * 900 + "1",
        "(" * 900,
        "[" * 900 + "]" * 900,
        " " * 5000,
    ],
)
def test_bad_headers_are_refused(header):
    error = assert_refused(with_header(header, bytes(64)))
    assert error.reason is FailureReason.MALFORMED_FILE


@pytest.mark.parametrize(
    "contents", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x03\x00"]
)
def test_what_is_no_npy_is_refused(contents):
    assert assert_refused(contents).reason is FailureReason.MALFORMED_FILE


def test_version_3_is_refused():
    assert "version 3.0" in assert_refused(npy(np.zeros(1), (3, 0))).detail


SEED = npy(np.arange(12, dtype=np.float32).reshape(4, 3))


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:Reading:UserWarning")
def test_flipped_bytes_give_an_array_or_a_case_error(flips):
    contents = bytearray(SEED)
    for position, value in flips:
        contents[position] = value
    try:
        read = read_array(bytes(contents), (3,))
    except CaseError as error:
        assert error.detail  # noqa: PT017
    else:
        assert read.shape[1:] == (3,)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_object_in_any_shape(shape):
    array = np.empty(shape, dtype=object)
    array[...] = "x"
    assert read_object(npy(array)) == "x"


@pytest.mark.parametrize("array", [np.array([], object), np.array(["a", "b"], object), np.zeros(1)])
def test_not_one_object_is_refused(array):
    with pytest.raises(CaseError, match="object") as caught:
        read_object(npy(array))
    assert caught.value.reason is FailureReason.MALFORMED_FILE
