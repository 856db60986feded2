from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.npz.pickled import MAX_DEPTH, MAX_PICKLE_BYTES, read_pickle

PROTOCOLS = [2, 3, 4, 5]

PLAIN = [
    None,
    True,
    0,
    -1,
    2**31,
    -(2**70),
    1.5,
    float("inf"),
    "",
    "Düse\ud800",
    "x" * 300,
    b"",
    b"\xff",
    (),
    [1],
]
SCALARS = [
    *(np.dtype(code).type(1) for code in ("?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16")),
    np.str_("hé"),
    np.str_(""),
    np.bytes_(b"ab"),
]
ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.arange(3, dtype=">i4"),
    np.zeros((0, 3)),
    np.array(2.5),
    np.array(["a", "bc"]),
    np.array([[1, 2], [3, 4]], dtype=object),
    np.array([True, False]),
]


def assert_same(mine: object, theirs: object) -> None:
    """Same type and value, all the way down."""
    assert type(mine) is type(theirs)
    if isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        assert_same(list(mine.values()), list(theirs.values()))
    elif isinstance(theirs, list | tuple):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, np.ndarray):
        # NumPy swaps the bytes of foreign arrays.
        assert mine.dtype.newbyteorder("=") == theirs.dtype.newbyteorder("=")
        assert mine.shape == theirs.shape
        assert_same(mine.ravel().tolist(), theirs.ravel().tolist())
    else:
        assert mine == theirs or (mine != mine and theirs != theirs)


def assert_refused(pickled: bytes, reason: FailureReason = FailureReason.MALFORMED_FILE) -> str:
    with pytest.raises(CaseError) as caught:
        read_pickle(pickled)
    assert caught.value.reason is reason
    return caught.value.detail


def as_numpy_1(pickled: bytes) -> bytes:
    """Return the pickle with the module names of NumPy 1, its text lengths and frame put right."""
    old = pickled.replace(b"numpy._core.", b"numpy.core.")
    for module in (b"numpy.core.multiarray", b"numpy.core.numeric"):
        old = old.replace(bytes([0x8C, len(module) + 1]) + module, bytes([0x8C, len(module)]) + module)
    if old[2:3] == b"\x95":
        length = struct.unpack("<Q", old[3:11])[0] - (len(pickled) - len(old))
        old = old[:3] + struct.pack("<Q", length) + old[11:]
    return old


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [*PLAIN, *SCALARS, *ARRAYS], ids=repr)
def test_reads_what_pickle_writes(value, protocol):
    pickled = pickle.dumps({"a": value, "again": [value, "a"]}, protocol=protocol)
    assert_same(read_pickle(pickled), pickle.loads(pickled))  # noqa: S301


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [*SCALARS, *ARRAYS], ids=repr)
def test_reads_the_names_of_numpy_1(value, protocol):
    pickled = as_numpy_1(pickle.dumps([value], protocol=protocol))
    assert b"numpy.core" in pickled
    assert b"numpy._core" not in pickled
    assert_same(read_pickle(pickled), pickle.loads(pickled))  # noqa: S301


KEYS = st.text() | st.integers(-(2**63), 2**63) | st.booleans() | st.floats(allow_nan=False) | st.binary()
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**300), 2**300)
    | st.floats()
    | st.text()
    | st.binary()
    | arrays.arrays(
        arrays.boolean_dtypes()
        | arrays.integer_dtypes()
        | arrays.floating_dtypes()
        | arrays.unicode_string_dtypes(),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
    | arrays.arrays(object, arrays.array_shapes(max_dims=2, max_side=3), elements=st.text() | st.none())
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=10,
)


@given(VALUES, st.sampled_from(PROTOCOLS))
@settings(max_examples=150, deadline=None)
def test_reads_any_plain_data(value, protocol):
    pickled = pickle.dumps(value, protocol=protocol)
    assert_same(read_pickle(pickled), pickle.loads(pickled))  # noqa: S301


class Calls:
    """What unpickling makes a call of."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, *PROTOCOLS])
def test_nothing_is_called(protocol, tmp_path):
    witness = tmp_path / "witness"
    pickled = pickle.dumps({"a": Calls(os.mkdir, str(witness))}, protocol=protocol)
    with pytest.raises(CaseError) as caught:
        read_pickle(pickled)
    assert not witness.exists()
    if protocol >= 2:
        assert caught.value.reason is FailureReason.UNSAFE_ARCHIVE
        assert "would call posix.mkdir" in caught.value.detail
    pickle.loads(pickled)  # noqa: S301
    assert witness.is_dir(), "the pickle should have been a working one"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        Calls(eval, "1"),
        Calls(np.load, "x"),
        Calls(np.frombuffer, b"ab"),
        Calls(bytes.fromhex, "00"),
        OrderedDict(a=1),
        PurePosixPath("a"),
        {1, 2},
        len,
        1j,
    ],
    ids=["eval", "load", "frombuffer", "fromhex", "OrderedDict", "path", "set", "builtin", "complex"],
)
def test_other_functions_and_classes_are_refused(value, protocol):
    pickled = pickle.dumps(value, protocol=protocol)
    with pytest.raises(CaseError) as caught:
        read_pickle(pickled)
    is_set = isinstance(value, set) and protocol >= 4
    reason = FailureReason.MALFORMED_FILE if is_set else FailureReason.UNSAFE_ARCHIVE
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "pickled",
    [
        b"(S'touch x'\nios\nsystem\n.",
        b"cos\nsystem\n(S'touch x'\ntR.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02cbuiltins\neval\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02cnumpy\ndtype\n)\x81.",
    ],
)
def test_handmade_calls_are_refused(pickled):
    with pytest.raises(CaseError) as caught:
        read_pickle(pickled)
    assert caught.value.reason in {FailureReason.UNSAFE_ARCHIVE, FailureReason.MALFORMED_FILE}


def test_allowed_functions_do_no_more_than_numpy_asks_of_them():
    numpy_dtype = b"cnumpy\ndtype\n"
    for pickled in (
        # A symbol as a value; calls of it with other arguments; a state for plain data.
        numpy_dtype + b".",
        numpy_dtype + b"(X\x01\x00\x00\x00O\x89\x88tR.",
        numpy_dtype + b"(X\x02\x00\x00\x00f8\x89\x88tR.",
        numpy_dtype + b"(X\x02\x00\x00\x00M8\x89\x88tR.",
        b"cnumpy\nndarray\n)R.",
        b"c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.",
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
        b"}}b.",
        b"X\x01\x00\x00\x00a)R.",
    ):
        assert_refused(b"\x80\x02" + pickled)


@pytest.mark.parametrize(
    "shape",
    ["(10**9,)", "(-1,)", "(2**70, 0)", "(1.5,)", "('a',)", "[3]", "(True,)", "((1,),)"],
)
def test_shapes_do_not_make_memory(shape):
    honest = pickle.dumps(Calls(np._core.numeric._frombuffer, b"abc", np.dtype("u1"), eval(shape), "C"), 5)  # noqa: S307
    assert_refused(honest)


BOMBS = {
    "deep": b")" + b"\x85" * (MAX_DEPTH + 1),
    "very deep": b")" + b"\x85" * 60_000,
    "deep lists": b"]" * 30_000 + b"a" * 29_999,
    "marks": b"(" * 60_000,
    # Each tuple holds the last one twice: 2 ** 40 values from 200 bytes.
    "doubling": b")" + b"".join(b"\x94" + bytes([0x68, i]) + b"\x86" for i in range(40)),
    "a list that holds itself": b"]\x94h\x00a",
    "a key that takes a deep stack to hash": b"})" + b"\x85" * 60_000 + b"Ns",
    "the same as a byte order": b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR(K\x03)"
    + b"\x85" * 60_000
    + b"NNNtb",
    "a long integer": b"\x8b\xff\xff\xff\x7f",
    "long bytes": b"\x8e" + b"\xff" * 8,
    "long": b"N" + b"0" * MAX_PICKLE_BYTES,
}


@pytest.mark.parametrize("opcodes", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_are_refused(opcodes):
    assert_refused(b"\x80\x04" + opcodes + b".")


@pytest.mark.parametrize(
    "pickled", [b"", b".", b"\x80", b"N", b"\x80\x02q\x00.", b"\x80\x02h\x09.", b"garbage"]
)
def test_what_is_no_pickle_is_refused(pickled):
    assert_refused(pickled)


SEED = pickle.dumps(
    {"a": [1, 2.5, "b", b"c", (None, True)], "s": np.float64(1), "x": np.arange(3), "o": np.array([{}])}, 4
)


@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_flipped_bytes_give_a_result_or_a_case_error(flips):
    pickled = bytearray(SEED)
    for position, value in flips:
        pickled[position] = value
    try:
        read_pickle(bytes(pickled))
    except CaseError as error:
        assert "\n" not in error.detail  # noqa: PT017


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_a_result_or_a_case_error(data):
    try:
        read_pickle(b"\x80\x04" + data)
    except CaseError as error:
        assert error.detail  # noqa: PT017
