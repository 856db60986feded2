"""One case read and measured; whatever its mesh, there is a case or a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpbf_dataset.build import Extraction, read_case
from lpbf_dataset.build.extraction import Task, extract
from lpbf_dataset.build.identity import identify
from lpbf_dataset.curation.rules import Rule
from lpbf_dataset.schema import FEATURE_VARIABLES, VARIABLES, field_names
from lpbf_dataset.sources.base import CaseError, FailureReason, Step

BASIC = Extraction(field_names(include_optional=False))
CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])


class TestExtraction:
    def test_more_fields_serve_where_fewer_are_wanted(self):
        everything = Extraction(field_names(include_optional=True))
        assert everything.covers(BASIC)
        assert not BASIC.covers(everything)

    def test_other_distances_and_versions_do_not(self):
        assert not BASIC.covers(replace(BASIC, sdf_surface="stl"))
        assert not BASIC.covers(replace(BASIC, version=BASIC.version + 1))

    def test_it_names_all_variables_of_a_node(self):
        nodal = {name for name, variable in VARIABLES.items() if variable.dim == "node"}
        assert {"points", *Extraction(field_names(include_optional=True)).variables} == nodal


class TestReadCase:
    def test_every_variable_and_statistic(self, case):
        read = read_case(case("bar", length=3), BASIC)
        assert set(read.variables) == {"points", "cells", "edges", *BASIC.variables}
        assert read.statistics["nodes"] == 16
        assert read.statistics["max_displacement_z"] == pytest.approx(0.01)
        assert (read.case_id, read.design_id, read.source) == ("bar", "design", "fake")

    def test_distances_to_the_part(self, case, box_part):
        of_mesh = read_case(case("bar", length=2), BASIC)
        of_part = read_case(case("bar", length=2, part=box_part), replace(BASIC, sdf_surface="stl"))
        for name in FEATURE_VARIABLES:
            np.testing.assert_allclose(of_part.variables[name], of_mesh.variables[name], atol=1e-6)
        assert of_part.statistics["surface_area"] == 10

    def test_distances_to_a_part_that_is_not_there(self, case):
        with pytest.raises(CaseError, match="surface_mismatch: memory has no STL"):
            read_case(case("bar"), replace(BASIC, sdf_surface="stl"))


@st.composite
def meshes(draw):
    """Cells of an octree, or almost: they may overlap, be apart, inverted, huge, tiny or torn."""
    boxes = draw(
        st.lists(st.tuples(*[st.integers(0, 3)] * 3, st.sampled_from([1, 1, 2])), min_size=1, max_size=8)
    )
    points = np.concatenate([np.array(box[:3]) + box[3] * CORNERS for box in boxes]).astype(float)
    points, nodes = np.unique(points, axis=0, return_inverse=True)
    cells = nodes.reshape(-1, 8)
    match draw(st.sampled_from(["sound", "flat", "huge", "rough", "torn", "moved", "loose"])):
        case "flat":
            points = points * [1, 1, 10.0 ** draw(st.integers(-12, 12))]
        case "huge":
            points = points * 10.0 ** draw(st.integers(-25, 25))
        case "rough":
            points = points + np.random.default_rng(0).normal(0, 0.05, points.shape)
        case "torn":
            cells[draw(st.integers(0, len(cells) - 1)), draw(st.integers(0, 7))] = draw(st.integers(-1, 99))
        case "moved":
            points = points + 10.0 ** draw(st.integers(1, 9))
        case "loose":
            points = np.vstack([points, [9, 9, draw(st.sampled_from([9, np.nan]))]])
    return points.astype(np.float32), cells.astype(np.int32)


@given(meshes())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_mesh_is_a_case_or_a_reason(case, tmp_path, mesh):
    points, cells = mesh
    fields = {
        name: np.zeros((len(points), *VARIABLES[name].row_shape), np.float32)
        for name in field_names(include_optional=False)
    }
    raw = case("any", stress=float(hash(points.tobytes())), length=len(cells))
    object.__setattr__(raw, "final_step", lambda _: Step(1, "removed", 1.0, points, cells, fields))
    record = extract(Task(identify(raw), raw, BASIC, (), tmp_path))
    if isinstance(record, CaseError):
        assert record.reason in (FailureReason.INVALID_MESH, FailureReason.MALFORMED_FILE)
    else:
        assert np.isfinite(record.descriptor).all()
        np.testing.assert_array_equal(record.rows.read("points", 0, len(points)), points)


class TestExtract:
    def task(self, raw, spool, rules=(), **more):
        return Task(identify(raw), raw, BASIC, rules, spool, **more)

    def test_a_case_is_read_once(self, logged, tmp_path, reads):
        task = self.task(logged("a"), tmp_path)
        first, second = extract(task), extract(task)
        assert reads() == ["a"]
        np.testing.assert_equal(first.statistics, second.statistics)
        np.testing.assert_array_equal(first.descriptor, second.descriptor)
        assert first.rows == second.rows

    def test_what_an_earlier_build_knows_serves(self, logged, tmp_path, reads):
        known = extract(self.task(logged("a"), tmp_path))
        reads()
        (tmp_path / "elsewhere").mkdir()
        assert extract(self.task(logged("a"), tmp_path / "elsewhere", earlier=known)) is known
        other = self.task(logged("a", stress=1.0), tmp_path / "elsewhere", earlier=known)
        assert extract(other).content_hash != known.content_hash
        assert reads() == ["a"]

    def test_arrays_that_a_rule_rejects_are_not_kept(self, logged, tmp_path, reads):
        low = (Rule("max_von_mises_stress", maximum=50.0),)
        rejected = extract(self.task(logged("a"), tmp_path, low))
        assert (rejected.rows, rejected.descriptor) == (None, None)
        (file,) = tmp_path.glob("*.safetensors")
        assert file.stat().st_size < 2000
        assert extract(self.task(logged("a"), tmp_path)).rows is not None
        assert reads() == ["a", "a"]
        # Once kept, they stay.
        assert extract(self.task(logged("a"), tmp_path, low)).rows is not None
        assert reads() == []

    def test_cases_of_one_content_do_not_meet(self, logged, tmp_path, reads):
        for name in ("a", "b"):
            extract(self.task(logged(name), tmp_path))
        assert reads() == ["a", "b"]
