"""Histories of cases that are given to the writer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.schema import field_names
from lpbf_dataset.sources.base import CaseError, DamagedStep, FailureReason, Step
from lpbf_dataset.steps import HistoryInMemory, Steps
from lpbf_dataset.store.verify import verify_store
from lpbf_dataset.store.writer import StoreWriter

FIELDS = field_names(include_optional=False)


def with_history(last, first):
    """Return a case whose first layers, its second step, which is damaged, and its end are known."""

    def fields(case, factor=1):
        return {name: factor * case.variables[name] for name in FIELDS}

    states = [
        Step(1, "deposited", 10.0, first.points, first.cells, fields(first)),
        DamagedStep(2, "dwelt", 20.0, CaseError(FailureReason.TRUNCATED_FILE, "2.ens ends early")),
        Step(3, "cooled", 30.0, last.points, last.cells, fields(last, 2)),
        Step(4, "removed", 40.0, last.points, last.cells, fields(last)),
    ]
    return replace(last, steps=Steps(last, HistoryInMemory(*lay_out_history(states, FIELDS))))


@pytest.fixture(scope="module")
def grown(synthetic_case):
    """Return three cases, of which the second has no history."""
    return [
        with_history(synthetic_case(2, 2, 3, case_id="a"), synthetic_case(2, 2, 1)),
        synthetic_case(1, 1, 1, case_id="b"),
        with_history(synthetic_case(1, 2, 2, case_id="c"), synthetic_case(1, 2, 1)),
    ]


def write(path, cases, fields=FIELDS):
    with StoreWriter(path, fields) as writer:
        for case in cases:
            writer.append(case)
        names = [case.case_id for case in cases]
        writer.finish(dict.fromkeys(names, "train"), pd.DataFrame({"case_id": names, "status": "kept"}))
    return open_dataset(path)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_step_comes_back(grown, tmp_path):
    dataset = write(tmp_path / "s.zarr", grown)
    assert [len(case.steps) for case in dataset] == [4, 0, 4]
    for case in (grown[0], grown[2]):
        for stored, given in zip(dataset[case.case_id].steps, case.steps, strict=True):
            assert (stored.kind, stored.time, stored.fault) == (given.kind, given.time, given.fault)
            for name, values in given.variables.items():
                np.testing.assert_array_equal(stored.variables[name], values)
    assert verify_store(dataset.location, deep=True) == []


def test_a_store_is_copied_byte_for_byte(grown, tmp_path):
    dataset = write(tmp_path / "s.zarr", grown)
    write(tmp_path / "copy.zarr", list(dataset))
    assert contents(tmp_path / "copy.zarr") == contents(tmp_path / "s.zarr")


def test_fields_of_steps_are_those_of_the_store(grown, tmp_path):
    dataset = write(tmp_path / "s.zarr", grown, ("temperature",))
    assert dataset.history_fields == ("temperature",)
    with (
        pytest.raises(StoreError, match=r"case 'a': its steps have no field 'displacement'"),
        StoreWriter(tmp_path / "other.zarr", FIELDS) as writer,
    ):
        writer.append(replace(grown[0], steps=dataset["a"].steps))


def test_steps_may_be_left_out(grown, tmp_path):
    dataset = write(tmp_path / "s.zarr", [replace(case, steps=()) for case in grown])
    assert not dataset.has_history
    assert verify_store(dataset.location, deep=True) == []


def test_other_steps_are_refused(grown, tmp_path):
    with (
        pytest.raises(StoreError, match=r"must be lpbf_dataset.steps.Steps, not list"),
        StoreWriter(tmp_path / "s.zarr", FIELDS) as writer,
    ):
        writer.append(replace(grown[0], steps=list(grown[0].steps)))


def test_steps_that_contradict_their_table_are_refused(grown, tmp_path):
    reader = grown[0].steps._reader
    nodes = reader.variables["history_temperature"]
    short = replace(reader, variables={**reader.variables, "history_temperature": nodes[:-1]})
    with (
        pytest.raises(StoreError, match="case 'a', variable 'history_temperature'"),
        StoreWriter(tmp_path / "s.zarr", FIELDS) as writer,
    ):
        writer.append(replace(grown[0], steps=Steps(grown[0], short)))
