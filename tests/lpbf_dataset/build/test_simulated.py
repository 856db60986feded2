"""The setup of the solver in stores that are built from stores."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, StoreSource
from lpbf_dataset.build.simulated import recorded_simulation
from lpbf_dataset.build.stored import StoredCase
from lpbf_dataset.simulation.job import PartSetup
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.recorded import setup_from_json
from lpbf_dataset.sources.base import CaseError, FailureReason

NICKEL, TITANIUM = (PartSetup(MATERIALS[name], orient=(0, 90, 0)) for name in ("inconel625", "ti6al4v"))
LOST = "the cases were not all simulated alike"


def stored(case_id, setup):
    unused = CaseError(FailureReason.MISSING_FILE, "")
    told = setup and json.loads(json.dumps(asdict(setup)))
    return StoredCase(case_id, "design", "solver", "memory", (), unused, told)


@pytest.mark.parametrize(
    ("first", "second", "expected", "is_lost"),
    [
        (NICKEL, NICKEL, NICKEL, False),
        (NICKEL, TITANIUM, None, True),
        (NICKEL, None, None, True),
        (None, None, None, False),
    ],
)
@pytest.mark.parametrize("is_raw", [False, True])
def test_cases_that_agree_and_others(case, first, second, expected, is_lost, is_raw):
    found = [stored("a", first), case("b") if is_raw else stored("b", second)]
    recorded, warnings = recorded_simulation(found, ["a", "b"], second if is_raw else None)
    assert (recorded and setup_from_json(recorded)) == expected
    assert [warning[: len(LOST)] for warning in warnings] == [LOST] * is_lost


def test_cases_that_are_left_out_do_not_count():
    found = [stored("a", NICKEL), stored("rejected", TITANIUM), stored("a", None)]
    recorded, warnings = recorded_simulation(found, ["a"], None)
    assert setup_from_json(recorded) == NICKEL
    assert warnings == []


def test_a_store_is_built_anew_byte_for_byte(build, case, target, tmp_path, files):
    build([case("a")], BuildOptions(), output=tmp_path / "old.zarr", simulation=NICKEL)
    build([], BuildOptions(), sources=[StoreSource(tmp_path / "old.zarr")])
    assert setup_from_json(lpbf.open_dataset(target).attributes["simulation"]) == NICKEL
    assert files(target) == files(tmp_path / "old.zarr")
