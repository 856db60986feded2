from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset.sources.netfabb import NetfabbSource


@pytest.fixture(scope="module")
def extraction(benchmark_module):
    return benchmark_module("extraction")


def test_the_published_way_reads_the_same(extraction, tmp_path):
    extraction.write_case(tmp_path / "case", side=3)
    extraction.make_archive(tmp_path / "case", tmp_path / "cases.zip", entries=181)
    case = [*NetfabbSource(tmp_path / "cases.zip").cases()][-1]
    read, step = extraction.read_as_published(case.path, case.folder), case.final_step()
    np.testing.assert_array_equal(read["points"], step.points)
    np.testing.assert_array_equal(read["cells"] - 1, step.cells)
    for name, values in step.fields.items():
        np.testing.assert_array_equal(read[name], values)


def test_a_row_for_each_size_of_archive(extraction, capsys):
    extraction.main(["--entries", "181", "400", "--side", "2", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "published / for a build" in printed
    assert printed.splitlines()[-1].split()[0] == "400"
