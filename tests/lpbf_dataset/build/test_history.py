"""The states over the build: from a source into a store and back."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.build import BuildError, BuildOptions, StoreSource, build_store
from lpbf_dataset.build.history import lay_out_history
from lpbf_dataset.schema import STEP_KINDS
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.process import simulate
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.base import SourceError
from lpbf_dataset.sources.netfabb import NetfabbSource, write_results
from lpbf_dataset.store.rounding import relative_error, round_mantissa
from lpbf_dataset.store.verify import verify_store

ALL = BuildOptions(steps="all", rules="none")
FIELDS = ("displacement", "von_mises_stress", "temperature")


def rounded_to(bits):
    """Return options by which a history is rounded, or not for None."""
    return replace(ALL, round_history=bits)


def assert_same_state(step, expected):
    """Compare a stored step with one of a source that holds no plate."""
    assert (step.kind, step.time) == (expected.kind, expected.time)
    np.testing.assert_array_equal(step.points, expected.points)
    np.testing.assert_array_equal(step.cells, expected.cells)
    assert step.field_names == FIELDS
    for name in FIELDS:
        np.testing.assert_array_equal(step.variables[name], expected.fields[name])


class TestOfMadeUpCases:
    @pytest.fixture
    def dataset(self, build, case, target):
        build([case("a", length=3), case("b", length=2, damaged=2), case("c", stress=50.0)], ALL)
        return lpbf.open_dataset(target)

    @pytest.mark.parametrize("case_id", ["a", "b", "c"])
    def test_every_step_comes_back(self, dataset, case, case_id):
        raw = {"a": case("a", length=3), "b": case("b", length=2), "c": case("c", stress=50.0)}[case_id]
        steps = dataset[case_id].steps
        assert len(steps) == 6
        for index, (step, expected) in enumerate(zip(steps, raw.history(), strict=True)):
            assert (step.case_id, step.index) == (case_id, index)
            if not step.is_missing:
                assert_same_state(step, expected)
        assert (case_id == "b") == any(step.is_missing for step in steps)

    def test_what_is_known_of_each_step(self, dataset):
        steps = dataset["a"].steps
        assert steps.table.kinds == ("deposited", "dwelt", "deposited", "dwelt", "cooled", "removed")
        assert [step.group for step in steps] == [1, 1, 2, 2, 2, 2]
        assert [step.height for step in steps] == [1.0] * 6
        # Consecutive states on one mesh share it.
        np.testing.assert_array_equal(steps.table.mesh, [0, 0, 1, 1, 1, 1])
        assert steps[-1].edges.tolist() == dataset["a"].edges.tolist()
        np.testing.assert_array_equal(steps[-1].scalar("displacement"), dataset["a"].scalar("displacement"))
        assert [step.index for step in steps[1:5:2]] == [1, 3]
        assert steps.read(-1, ["temperature"]).field_names == ("temperature",)

    def test_steps_and_fields_that_are_not_there(self, dataset):
        steps = dataset["a"].steps
        with pytest.raises(IndexError, match="step 6 of 6"):
            steps[6]
        with pytest.raises(KeyError, match="no field 'sdf'"):
            steps.read(0, ["sdf"])

    def test_a_damaged_step_is_marked_and_the_rest_kept(self, build, case, target, dataset):
        steps = dataset["b"].steps
        missing = steps[2]
        assert (missing.node_count, missing.cell_count, missing.time) == (0, 0, 20.0)
        assert missing.fault == "truncated_file: a.dis.ens ends early"
        assert np.isnan(missing.height)
        assert "missing" in repr(missing)
        series = dataset["b"].series()
        assert series.is_missing.tolist() == [False, False, True, False, False, False]
        entry = dataset.catalog().set_index("case_id").loc["b"]
        assert (entry.status, entry.reason) == (
            "kept",
            f"step 2 of 6 (deposited) is missing: {missing.fault}",
        )
        result = build([case("b", length=2, damaged=2)], ALL, output=target.with_name("again.zarr"))
        assert f"case b: {entry.reason}" in result.warnings

    def test_the_store_is_sound(self, dataset):
        assert verify_store(dataset.location, deep=True) == []

    def test_moments_are_those_of_the_training_steps(self, dataset):
        stored = dataset.normalization
        for name in FIELDS:
            values = np.concatenate([step.variables[name] for case in dataset.train for step in case.steps])
            moments = stored[f"history_{name}"]
            assert moments.count == len(values)
            wide = values.astype(np.float64)
            np.testing.assert_allclose(moments.mean, wide.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(moments.std, wide.std(axis=0), rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(moments.max, values.max(axis=0))
        assert not {"history_points", "history_cells"} & stored.keys()

    def test_xarray_sees_it(self, dataset):
        whole = dataset.to_xarray()
        offset, count = int(whole.step_node_offset[5]), int(whole.step_node_count[5])
        values = whole.history_displacement.isel(step_node=slice(offset, offset + count))
        np.testing.assert_array_equal(values, dataset["a"].displacement)
        assert whole.step_kind.attrs["flag_meanings"].split() == list(STEP_KINDS)
        assert whole.step_node_count.attrs["sample_dimension"] == "step_node"

    def test_the_final_state_is_as_without_history(self, dataset, build, case, target):
        build([case("a", length=3)], BuildOptions(rules="none"), output=target.with_name("final.zarr"))
        final = lpbf.open_dataset(target.with_name("final.zarr"))
        assert not final.has_history
        assert len(final["a"].steps) == 0
        with pytest.raises(ValueError, match="has no steps"):
            final["a"].series()
        for name, values in final["a"].variables.items():
            np.testing.assert_array_equal(values, dataset["a"].variables[name])

    def test_a_view_travels_to_another_process(self, dataset):
        case = pickle.loads(pickle.dumps(dataset["a"]))  # noqa: S301 - made here
        np.testing.assert_array_equal(case.steps[0].points, dataset["a"].steps[0].points)


class TestOfEarlierStores:
    def test_the_history_is_kept_byte_for_byte(self, build, case, target, files):
        build([case("a", length=3), case("b", damaged=1)], ALL)
        again = target.with_name("again.zarr")
        build([], ALL, sources=[StoreSource(target)], output=again)
        assert files(again) == files(target)

    def test_a_store_without_history_is_refused(self, build, case, target):
        build([case("a")], BuildOptions(rules="none"))
        with pytest.raises(SourceError, match=r"of final steps.*of all steps"):
            build([], ALL, sources=[StoreSource(target)], output=target.with_name("again.zarr"))

    def test_the_final_states_of_one_with_history_serve(self, build, case, target, files):
        options = BuildOptions(rules="none")
        build([case("a", length=3)], options, output=target.with_name("final.zarr"))
        build([case("a", length=3)], ALL)
        build([], options, sources=[StoreSource(target)], output=target.with_name("again.zarr"))
        assert files(target.with_name("again.zarr")) == files(target.with_name("final.zarr"))

    def test_an_interrupted_build_goes_on(self, build, logged, target, reads, files):
        found = [logged("a", length=3), logged("b", length=2)]
        build(found, ALL, dry_run=True)
        assert reads() == ["a", "b"]
        build(found, ALL)
        assert reads() == []
        other = target.with_name("other.zarr")
        build(found, ALL, output=other)
        assert files(other) == files(target)


class TestOfRoundedFields:
    @pytest.fixture
    def found(self, logged):
        return [logged("a", length=3, stress=100.3), logged("b", length=2, damaged=2)]

    @pytest.fixture
    def exact(self, build, found, tmp_path, reads):
        """Return a store of all bits."""
        build(found, ALL, output=tmp_path / "exact.zarr")
        assert reads() == ["a", "b"]
        return tmp_path / "exact.zarr"

    def test_fields_of_steps_alone_are_rounded(self, build, found, exact, target):
        build(found, rounded_to(7))
        dataset, expected = lpbf.open_dataset(target), lpbf.open_dataset(exact)
        assert (dataset.history_bits, expected.history_bits) == (7, None)
        for case, original in zip(dataset, expected, strict=True):
            for name, values in original.variables.items():
                np.testing.assert_array_equal(case.variables[name], values)
            for step, whole in zip(case.steps, original.steps, strict=True):
                np.testing.assert_array_equal(step.points, whole.points)
                np.testing.assert_array_equal(step.cells, whole.cells)
                for name in FIELDS:
                    np.testing.assert_array_equal(
                        step.variables[name], round_mantissa(whole.variables[name], 7)
                    )
                    np.testing.assert_allclose(
                        step.variables[name], whole.variables[name], rtol=relative_error(7)
                    )
        assert not np.array_equal(dataset["a"].steps[-1].displacement, dataset["a"].displacement)
        assert dataset["a"].series().is_active[-1].all()
        assert verify_store(target, deep=True) == []

    def test_xarray_sees_how(self, build, found, target):
        build(found, rounded_to(7))
        whole = lpbf.open_dataset(target).to_xarray()
        attributes = whole.history_von_mises_stress.attrs
        assert attributes["quantization_nsb"] == 7
        assert attributes["quantization_maximum_relative_error"] == 2**-8
        container = whole[attributes["quantization"]]
        assert container.shape == ()
        assert container.attrs["algorithm"] == "bitround"
        assert container.attrs["implementation"].startswith("numcodecs version ")
        assert "quantization" not in whole.history_points.attrs
        assert "quantization" not in whole.displacement.attrs

    def test_a_store_of_all_bits_says_nothing_of_it(self, exact, files):
        names = ("round", "quantization", "bitshuffle")
        for name, contents in files(exact).items():
            if name.endswith(".json"):
                assert not [word for word in names if word.encode() in contents], name

    def test_what_was_laid_ready_serves_any_precision(self, build, found, target, reads, files, tmp_path):
        build(found, ALL, dry_run=True)
        assert reads() == ["a", "b"]
        build(found, rounded_to(7))
        assert reads() == []
        build(found, rounded_to(7), output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    @pytest.mark.parametrize("bits", [None, 7])
    def test_in_the_place_of_another_precision(self, build, found, target, reads, files, tmp_path, bits):
        """Rounded twice, values would err by more than is said, and bits that are gone do not come back."""
        build(found, rounded_to(10))
        reads()
        build(found, rounded_to(bits))
        assert reads() == ["a", "b"]
        build(found, rounded_to(bits), output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    @pytest.mark.parametrize("before", [None, 10])
    def test_in_the_place_of_a_precision_that_serves(
        self, build, found, target, reads, files, tmp_path, before
    ):
        build(found, rounded_to(before))
        reads()
        build(found, rounded_to(10))
        assert reads() == []
        build(found, rounded_to(10), output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr")

    def test_from_an_earlier_store(self, build, found, exact, target, files, tmp_path):
        build([], rounded_to(10), sources=[StoreSource(exact)])
        build([], rounded_to(10), sources=[StoreSource(target)], output=tmp_path / "again.zarr")
        build(found, rounded_to(10), output=tmp_path / "scratch.zarr")
        assert files(target) == files(tmp_path / "scratch.zarr") == files(tmp_path / "again.zarr")
        for bits in (None, 7, 12):
            with pytest.raises(
                SourceError, match=r"rounded to 10 bits.*give --round_history 10 or build from"
            ):
                build([], rounded_to(bits), sources=[StoreSource(target)], output=tmp_path / "other.zarr")
        # Final states are whole.
        build([], BuildOptions(rules="none"), sources=[StoreSource(target)], output=tmp_path / "final.zarr")
        final, expected = (lpbf.open_dataset(path)["a"] for path in (tmp_path / "final.zarr", exact))
        np.testing.assert_array_equal(final.displacement, expected.displacement)

    def test_a_real_run(self, step2, tmp_path):
        build_store([NetfabbSource(step2)], tmp_path / "s.zarr", rounded_to(10))
        (raw,) = NetfabbSource(step2).cases()
        _, variables = lay_out_history(raw.history(FIELDS), FIELDS)
        steps = lpbf.open_dataset(tmp_path / "s.zarr")[0].steps
        for name in FIELDS:
            stored = np.concatenate([step.variables[name] for step in steps])
            np.testing.assert_allclose(stored, variables[f"history_{name}"], rtol=2.0**-11, atol=0)
        assert verify_store(tmp_path / "s.zarr", deep=True) == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"round_history": 0, "steps": "all"}, "round_history is 0; give 1 to 23 bits"),
            ({"round_history": 24, "steps": "all"}, "round_history is 24"),
            ({"round_history": 10}, "give steps 'all' too"),
        ],
    )
    def test_options_that_make_no_sense(self, options, message):
        with pytest.raises(BuildError, match=message):
            BuildOptions(**options)


def test_the_plate_is_left_out(step2):
    (case,) = NetfabbSource(step2).cases()
    table, variables = lay_out_history(case.history(FIELDS), FIELDS)
    assert table.kinds[-2:] == ("cooled", "removed")
    np.testing.assert_array_equal(table.step_node_count, [1294] * 2 + [2719] * 2 + [3227] * 4)
    np.testing.assert_array_equal(table.mesh, [0, 0, 1, 1, 2, 2, 2, 2])
    np.testing.assert_allclose(table.height, [3.2] * 2 + [6.4] * 2 + [8.8] * 4, rtol=1e-6)
    assert variables["history_points"][:, 2].min() == 0.0


@pytest.mark.slow
def test_a_simulated_part_of_24_layer_groups(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    settings = SimulationSettings(layers_per_cell=50, group_cells=1)
    height = 24 * settings.cell_height
    tower = trimesh.creation.box(bounds=[(0, 0, 0), (4, 4, height)])
    simulation = simulate(tower, MATERIALS["ti6al4v"], settings)
    write_results(tmp_path / "tower", simulation.steps)
    result = build_store([NetfabbSource(tmp_path / "tower")], tmp_path / "s.zarr", ALL)
    assert result.warnings == ()
    case = lpbf.open_dataset(tmp_path / "s.zarr")[0]
    assert len(case.steps) == 2 * 24 + 2
    assert case.steps.table.group[-1] == 24
    heights = settings.cell_height * np.arange(1, 25)
    np.testing.assert_allclose(case.steps.table.height[:-2:2], heights, rtol=1e-5)
    for step, computed in zip(case.steps, simulation.steps, strict=True):
        above = computed.points[computed.cells, 2].mean(axis=1) > 0
        nodes = np.unique(computed.cells[above])
        np.testing.assert_array_equal(step.points, computed.points[nodes])
        np.testing.assert_array_equal(step.displacement, computed.fields["displacement"][nodes])
    series = case.series(["displacement"])
    assert series.is_active[-1].all()
    assert (np.diff(series.is_active.sum(axis=1)) >= 0).all()
    assert verify_store(tmp_path / "s.zarr", deep=True) == []


class TestOfARealRun:
    def test_every_step_is_as_vtk_reads_it(self, step2, tmp_path):
        pv = pytest.importorskip("pyvista", reason="needs the viz extra")
        build_store([NetfabbSource(step2)], tmp_path / "s.zarr", ALL)
        steps = lpbf.open_dataset(tmp_path / "s.zarr")[0].steps
        reader = pv.get_reader(str(step2 / "results" / "step2_mechanical.case"))
        assert [step.time for step in steps] == reader.time_values
        titles = {"displacement": "Displacement", "von_mises_stress": "von_Mises_stress"}
        for step in steps:
            reader.set_active_time_value(step.time)
            grid = reader.read()[0]
            part = grid.extract_cells(grid.cell_centers().points[:, 2] > 0)
            np.testing.assert_array_equal(step.points, part.points)
            np.testing.assert_array_equal(step.cells, part.cells_dict[pv.CellType.HEXAHEDRON])
            for name, title in {**titles, "temperature": "Temperature"}.items():
                np.testing.assert_array_equal(step.variables[name], part.point_data[title])

    def test_a_damaged_middle_step_costs_only_itself(self, step2, tmp_path):
        folder = shutil.copytree(step2, tmp_path / "step2")
        file = folder / "results" / "step2_mechanical00_4.svm.ens"
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:-100])
        (case,) = NetfabbSource(folder).cases()
        table, variables = lay_out_history(case.history(FIELDS), FIELDS)
        assert table.is_missing.tolist() == [False] * 3 + [True] + [False] * 4
        assert table.fault[3].startswith("truncated_file: ")
        assert file.name in table.fault[3]
        assert len(variables["history_displacement"]) == table.step_node_count.sum()
