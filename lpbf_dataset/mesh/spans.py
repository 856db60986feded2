"""Spans of material along a line, and how far their union goes."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def reach(spans, count: int, forwards: bool, tolerance: float) -> float:  # type: ignore[no-untyped-def]
    """How far the union of spans goes on from position 0 without a gap.

    Parameters
    ----------
    spans : (k, 4) float64 ndarray
        Where each span starts and ends, then from where to where it may reach by rounding: it is joined
        to others there, but the union ends where it ends.
    count : int
        Only so many spans count.
    forwards : bool
        Towards positive positions.
    tolerance : float
        Gaps up to this length are none, and nor is a union that goes no further.

    Returns
    -------
    float
        Length, at least 0.
    """
    end, grew = 0.0, True
    while grew:
        grew = False
        for i in range(count):
            near, far = (spans[i, 2], spans[i, 1]) if forwards else (-spans[i, 3], -spans[i, 0])
            if near <= end + tolerance and far > end:
                end, grew = far, True
    return end if end > tolerance else 0.0
