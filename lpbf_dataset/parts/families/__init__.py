"""The families of procedural parts, each a function from a `Draw` to a closed solid.

A family draws at a nominal size: no part is longer than 60 mm, and walls are 1.3 mm or thicker, more
than two voxels of 0.6 mm.  Only the tips of gear teeth are finer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.parts.families.brackets import bracket
from lpbf_dataset.parts.families.bridges import bridge
from lpbf_dataset.parts.families.flanges import flange
from lpbf_dataset.parts.families.gears import gear
from lpbf_dataset.parts.families.lattices import lattice
from lpbf_dataset.parts.families.overhangs import overhang
from lpbf_dataset.parts.families.rings import ring
from lpbf_dataset.parts.families.thin_walls import thin_wall

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold3d import Manifold

    from lpbf_dataset.parts.draw import Draw

FAMILIES: dict[str, Callable[[Draw], Manifold]] = {
    "bracket": bracket,
    "bridge": bridge,
    "flange": flange,
    "gear": gear,
    "lattice": lattice,
    "overhang": overhang,
    "ring": ring,
    "thin_wall": thin_wall,
}
"""Every family by its name, which begins the names of its designs."""
