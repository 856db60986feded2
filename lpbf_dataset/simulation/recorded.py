"""How parts were simulated, as it is recorded with the results and read back from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpbf_dataset.simulation.inherent_strain import EdgeRelaxation
from lpbf_dataset.simulation.job import PartSetup
from lpbf_dataset.simulation.materials import Material
from lpbf_dataset.simulation.settings import SimulationSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


def setup_from_json(values: Mapping[str, Any]) -> PartSetup:
    """Read back what ``dataclasses.asdict`` made of a `PartSetup`, and JSON of that.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the values are something else.
    """
    material = dict(values["material"])
    relaxation = material.pop("relaxation")
    orient = values["orient"]
    return PartSetup(
        Material(**material, relaxation=relaxation and EdgeRelaxation(**relaxation)),
        SimulationSettings(**values["settings"]),
        values["scale_to"],
        orient if isinstance(orient, str) else tuple(orient),
    )
