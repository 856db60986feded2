"""Part geometry from untrusted CAD and mesh files.

>>> from lpbf_dataset.sources.part_files import discover_parts
>>> for reference in discover_parts("parts"):  # doctest: +SKIP
...     part = reference.read()
...     print(part.name, part.mesh.extents, *part.warnings, sep="; ")
"""

from lpbf_dataset.sources.part_files.discover import PartReference, discover_parts
from lpbf_dataset.sources.part_files.placement import place_on_plate, plate_frame
from lpbf_dataset.sources.part_files.reader import PartGeometry, read_part

__all__ = ["PartGeometry", "PartReference", "discover_parts", "place_on_plate", "plate_frame", "read_part"]
