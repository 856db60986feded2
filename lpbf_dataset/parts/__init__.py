"""Procedural parts to simulate: engineering shapes, endless, seeded and watertight.

Needs the ``solver`` extra (manifold3d).

>>> from lpbf_dataset.parts import generate_parts
>>> for part in generate_parts(3, seed=0):
...     _ = part.mesh.export(f"{part.name}.stl")  # doctest: +SKIP
"""

from lpbf_dataset.parts.families import FAMILIES
from lpbf_dataset.parts.generate import (
    BODIES_PER_DESIGN,
    Part,
    ProceduralPart,
    generate_part,
    generate_parts,
)

__all__ = ["BODIES_PER_DESIGN", "FAMILIES", "Part", "ProceduralPart", "generate_part", "generate_parts"]
