"""EnSight Gold, the result format of Netfabb and of many finite-element solvers.

>>> from io import BytesIO
>>> import numpy as np
>>> corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32)
>>> points = np.vstack([corners, corners + np.float32([0, 0, 1])])
>>> cube = Geometry((Part(points, {"hexa8": np.arange(8, dtype=np.int32).reshape(1, 8)}),))
>>> stream = BytesIO()
>>> write_geometry(stream, cube)
>>> read_geometry(BytesIO(stream.getvalue())).parts[0].cells["hexa8"]
array([[0, 1, 2, 3, 4, 5, 6, 7]], dtype=int32)

C binary, Fortran binary with record markers and ASCII are read, in both byte orders; the encoding
is found by looking.  Every reader raises `EnsightError` for a file it cannot read, of which
`TruncatedError` is the kind for one that ends too early, and `OSError` for one it cannot open.
"""

from lpbf_dataset.sources.ensight.case import CaseFile, FileSeries, TimeSet, VariableSeries
from lpbf_dataset.sources.ensight.geometry import NODES_PER_CELL, Geometry, Part
from lpbf_dataset.sources.ensight.reader import read_case, read_geometry, read_variable
from lpbf_dataset.sources.ensight.records import EnsightError, TruncatedError
from lpbf_dataset.sources.ensight.writer import write_case, write_geometry, write_variable

__all__ = [
    "NODES_PER_CELL",
    "CaseFile",
    "EnsightError",
    "FileSeries",
    "Geometry",
    "Part",
    "TimeSet",
    "TruncatedError",
    "VariableSeries",
    "read_case",
    "read_geometry",
    "read_variable",
    "write_case",
    "write_geometry",
    "write_variable",
]
