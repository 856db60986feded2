"""What a ``.npz`` of the published release holds, shared by the source and the export.

The release (vedantpuri/LPBF_FLARE on Hugging Face) is written by ``am/dataset/filtering.py`` of
github.com/vpuri3/FLARE.py from the graphs of ``am/dataset/utils.py``: ``pos`` (n, 3) float32,
``elems`` (m, 8) int32 from zero, ``edge_index`` (2, e) int64 with both directions of each edge,
``disp`` (n, 3), ``vmstr`` (n, 1) and ``temp`` (n, 1) float32, all as Netfabb gives them (mm, MPa,
degC).  ``_metadata`` is an object array of shape (1,) with one JSON text, ``{"metadata": {"case_name":
..., "zmax": null, "time_steps": 1}}``.  Files are called ``case<five digits>_<case name>.npz``.
"""

from __future__ import annotations

import re

METADATA = "_metadata"
EDGES = "edge_index"

_PUBLISHED_NAMES = {
    "points": "pos",
    "cells": "elems",
    "displacement": "disp",
    "von_mises_stress": "vmstr",
    "temperature": "temp",
}
_NUMBERED = re.compile(r"^case\d{5}_(?=.)")


def array_name(variable: str) -> str:
    """Name of a variable in the file: the published one, or for variables it lacks that of the schema."""
    return _PUBLISHED_NAMES.get(variable, variable)


def case_name_of_file(stem: str) -> str:
    """Name of the case in a file name without its ending."""
    return _NUMBERED.sub("", stem)
