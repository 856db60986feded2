from __future__ import annotations

import numpy as np

from lpbf_dataset.mesh.spans import reach


def both_ways(spans: list[tuple[float, float]], slack: float = 0.0) -> tuple[float, float]:
    rows = np.array([(start, end, start - slack, end + slack) for start, end in spans]).reshape(-1, 4)
    return reach(rows, len(rows), False, 1e-3), reach(rows, len(rows), True, 1e-3)


def test_union_ends_at_the_first_gap_whatever_the_order():
    spans = [(2.0, 3.0), (-1.0, 0.5), (0.4, 2.0), (3.1, 4.0), (-9.0, -2.0)]
    assert both_ways(spans) == both_ways(spans[::-1]) == (1.0, 3.0)


def test_gaps_within_tolerance_are_none():
    assert both_ways([(-1.0, 0.0), (5e-4, 1.0), (1.0005, 2.0), (2.002, 3.0)]) == (1.0, 2.0)


def test_spans_join_where_they_may_by_rounding_but_end_where_they_end():
    assert both_ways([(0.0, 1.0), (1.1, 2.0)], slack=0.1) == (0.0, 2.0)


def test_nothing_around_the_origin():
    assert both_ways([(1.0, 2.0), (-2.0, -1.0)]) == (0.0, 0.0)
    assert both_ways([]) == (0.0, 0.0)
    assert both_ways([(-5e-4, 5e-4)]) == (0.0, 0.0)
