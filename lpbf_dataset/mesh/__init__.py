"""Kernels on hexahedral meshes: edges, quality, surface, distances to it, thickness, averages, interpolation.

Every function takes plain arrays, checks them, and runs compiled code that releases the GIL.

Each kernel is compiled on its first call, for some seconds, and kept on disk, so that later processes load it
in milliseconds.  It is kept in `__pycache__` beside the source; where that folder cannot be written, as in a
`site-packages` of another owner, in the user's cache folder (`~/.cache/numba` or `$XDG_CACHE_HOME/numba`
on Linux); and in `$NUMBA_CACHE_DIR` before either, if that is set.  Where none of them can be written, numba
refuses the import with "cannot cache function": set `NUMBA_CACHE_DIR` to a folder that can.
"""

from lpbf_dataset.mesh.averages import cell_to_node, node_to_cell
from lpbf_dataset.mesh.axis_distance import axis_distances
from lpbf_dataset.mesh.boundary import Boundary, boundary
from lpbf_dataset.mesh.components import face_components, node_components
from lpbf_dataset.mesh.distance import node_distance, signed_distance
from lpbf_dataset.mesh.feature_size import feature_size
from lpbf_dataset.mesh.interpolate import Interpolator, interpolate
from lpbf_dataset.mesh.locate import CellLocator
from lpbf_dataset.mesh.quality import aspect_ratios, cell_volumes
from lpbf_dataset.mesh.surface_axis_distance import surface_axis_distances
from lpbf_dataset.mesh.topology import unique_edges

__all__ = [
    "Boundary",
    "CellLocator",
    "Interpolator",
    "aspect_ratios",
    "axis_distances",
    "boundary",
    "cell_to_node",
    "cell_volumes",
    "face_components",
    "feature_size",
    "interpolate",
    "node_components",
    "node_distance",
    "node_to_cell",
    "signed_distance",
    "surface_axis_distances",
    "unique_edges",
]
