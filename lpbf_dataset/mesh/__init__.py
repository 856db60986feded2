"""Kernels on hexahedral meshes: edges and cell quality.

Every function takes plain arrays, checks them, and runs compiled code that releases the GIL and
is cached on disk.
"""

from lpbf_dataset.mesh.interpolate import Interpolator, interpolate
from lpbf_dataset.mesh.quality import aspect_ratios, cell_volumes
from lpbf_dataset.mesh.topology import unique_edges

__all__ = ["Interpolator", "aspect_ratios", "cell_volumes", "interpolate", "unique_edges"]
