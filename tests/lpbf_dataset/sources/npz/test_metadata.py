from __future__ import annotations

import json

import numpy as np
import pytest

from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.sources.npz.metadata import Metadata, read_metadata

ENTRIES = {"case_name": "21477_babb9c34_4", "zmax": None, "time_steps": 1}


def boxed(value: object, shape: tuple[int, ...] = (1,)) -> np.ndarray:
    array = np.empty(shape, dtype=object)
    array[...] = value
    return array


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"metadata": ENTRIES}),
        json.dumps(ENTRIES),
        {"metadata": ENTRIES},
        ENTRIES,
        {"case_name": np.str_(ENTRIES["case_name"]), "zmax": np.float64(1)},
    ],
)
def test_text_or_dictionary(to_npy, value, shape):
    metadata = read_metadata(to_npy(boxed(value, shape)))
    assert metadata == Metadata("21477_babb9c34_4", "")
    assert type(metadata.case_name) is str


def test_names_may_be_absent(to_npy):
    assert read_metadata(to_npy(boxed("{}"))) == Metadata("", "")
    assert read_metadata(to_npy(boxed({"case_name": None, "design_id": "d"}))) == Metadata("", "d")


@pytest.mark.parametrize(
    "value",
    ["no JSON", "[1]", "[" * 30_000, "1" * 5000, '{"metadata": 1}', 5, None],
    ids=lambda value: str(value)[:20],
)
def test_neither_is_refused(to_npy, value):
    with pytest.raises(CaseError) as caught:
        read_metadata(to_npy(boxed(value)))
    assert caught.value.reason is FailureReason.MALFORMED_FILE


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", "..\\b", "/etc", "a\nb", "a\0b", "\ud800", "x" * 201, 5, ["a"], {}]
)
def test_names_that_are_none_are_refused(to_npy, name):
    with pytest.raises(CaseError, match="case_name is not a name"):
        read_metadata(to_npy(boxed({"case_name": name})))
