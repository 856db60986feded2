"""The setup of the solver in stores that are built from stores."""

from __future__ import annotations

import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildOptions, StoreSource
from lpbf_dataset.simulation.job import PartSetup
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.recorded import setup_from_json

NICKEL, TITANIUM = (PartSetup(MATERIALS[name], orient=(0, 90, 0)) for name in ("inconel625", "ti6al4v"))
NO_RULES = BuildOptions(rules="none")


@pytest.fixture
def store_of(build, case, tmp_path):
    """Return a function that builds a store of one case."""

    def make(name, setup=None, **chosen):
        path = tmp_path / f"{name}.zarr"
        build([case(name, **chosen)], NO_RULES, output=path, simulation=setup)
        return StoreSource(path)

    return make


def outcome(result, store):
    """Return the setup that a store records, and whether the build warned that it does not."""
    values = lpbf.open_dataset(store).attributes.get("simulation")
    return values and setup_from_json(values), any("not all simulated alike" in w for w in result.warnings)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (NICKEL, NICKEL, (NICKEL, False)),
        (NICKEL, TITANIUM, (None, True)),
        (NICKEL, None, (None, True)),
        (None, None, (None, False)),
    ],
)
def test_of_two_stores(build, store_of, target, first, second, expected):
    result = build([], NO_RULES, sources=[store_of("a", first), store_of("b", second)])
    assert outcome(result, target) == expected


@pytest.mark.parametrize(
    ("setup", "expected"), [(NICKEL, (NICKEL, False)), (TITANIUM, (None, True)), (None, (None, True))]
)
def test_of_a_store_and_results(build, case, store_of, target, setup, expected):
    result = build([case("b")], NO_RULES, sources=[store_of("a", NICKEL)], simulation=setup)
    assert outcome(result, target) == expected


def test_cases_that_are_left_out_do_not_count(build, store_of, target):
    sources = [store_of("a", NICKEL), store_of("stressed", TITANIUM, stress=2500.0)]
    assert outcome(build([], BuildOptions(), sources=sources), target) == (NICKEL, False)
