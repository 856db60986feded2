"""What the log of the solver says about how the run ended."""

from __future__ import annotations

import re

from lpbf_dataset.sources.base import FailureReason

EMBEDDED_SOLVER_SUCCESS = "END LPBF toolkit simulation"
"""Last line of a successful run of the embedded solver."""

SUCCESS_MARKS = ("END Autodesk AM Process Simulation", EMBEDDED_SOLVER_SUCCESS)
"""Beginnings of the line that ends a successful run."""

TERMINATED = "Analysis terminated"
"""Beginning of the line with which a solver gives up."""

_RUN_BEGINS = "\nAutodesk AM Process Simulation v"
_TERMINATION = re.compile(rf"{TERMINATED}[^\r\n]*")
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
    if terminated := _TERMINATION.search(text):
        return FailureReason.ANALYSIS_TERMINATED, f"the solver reports {terminated[0].strip()!r}"
    # One log may hold several runs one after another: a quick estimate of the cost ends in success
    # before the analysis proper begins.
    if _SUCCESS.search(text, max(text.rfind(_RUN_BEGINS), 0)):
        return None
    return FailureReason.ANALYSIS_UNFINISHED, f"the log breaks off before {' or '.join(SUCCESS_MARKS)!r}"
