"""What the log of the solver says about how the run ended."""

from __future__ import annotations

import re

from lpbf_dataset.sources.base import FailureReason

SUCCESS_MARKS = ("END Autodesk AM Process Simulation",)
"""Beginnings of the line that ends a successful run."""

_TERMINATED = "Analysis terminated"
_RUN_BEGINS = "\nAutodesk AM Process Simulation v"
_SUCCESS = re.compile(rf"^[ \t]*(?:{'|'.join(map(re.escape, SUCCESS_MARKS))})", re.MULTILINE)


def failure(log: bytes) -> tuple[FailureReason, str] | None:
    """Tell from a log why its results cannot be used.

    Parameters
    ----------
    log : bytes
        The log file, in any encoding that extends ASCII.

    Returns
    -------
    (FailureReason, str) or None
        ANALYSIS_TERMINATED if the solver gave up, ANALYSIS_UNFINISHED if the last run in the log does
        not reach one of `SUCCESS_MARKS`, each with a remark; None after a success.
    """
    text = log.decode("latin-1")
    if _TERMINATED in text:
        return FailureReason.ANALYSIS_TERMINATED, f"the solver reports {_TERMINATED!r}"
    # One log may hold several runs one after another: a quick estimate of the cost ends in success
    # before the analysis proper begins.
    if _SUCCESS.search(text, max(text.rfind(_RUN_BEGINS), 0)):
        return None
    return FailureReason.ANALYSIS_UNFINISHED, f"the log breaks off before {' or '.join(SUCCESS_MARKS)!r}"
