"""Distortion of a printed part at its own surface, and the surface to print so that it comes out as designed.

>>> from lpbf_dataset.distortion import compensate, simulated_displacement
>>> from lpbf_dataset.simulation.materials import MATERIALS
>>> source = simulated_displacement(MATERIALS["inconel625"])
>>> result = compensate(refined(part, 1.6), source)  # doctest: +SKIP
>>> print(result.before.rms, result.after.rms)  # doctest: +SKIP
"""

from lpbf_dataset.distortion.compensation import Compensation, Iterate, compensate
from lpbf_dataset.distortion.deviation import Deviation, deviation
from lpbf_dataset.distortion.soundness import CompensationError
from lpbf_dataset.distortion.sources import DisplacementSource, displacement_at, simulated_displacement
from lpbf_dataset.distortion.surfaces import moved, refined

__all__ = [
    "Compensation",
    "CompensationError",
    "Deviation",
    "DisplacementSource",
    "Iterate",
    "compensate",
    "deviation",
    "displacement_at",
    "moved",
    "refined",
    "simulated_displacement",
]
