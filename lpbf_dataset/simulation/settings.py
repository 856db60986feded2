"""How the part is printed and meshed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SimulationSettings:
    """How the part is printed and meshed.  The defaults are those of the Netfabb run.

    Parameters
    ----------
    layer_thickness : float
        mm.
    layers_per_cell : int
        Layers in the height of the finest cell.
    group_cells : int
        Finest cells in a layer group; a power of two lets the mesh coarsen most.
    plate_depth : float
        Thickness of the build plate in mm.
    dwell : float
        Time between layers in s.
    laser_power : float
        W.
    absorption : float
        Share of the laser power that heats the part, 1.
    scan_speed : float
        mm/s.
    hatch : float
        Distance between scan lines, mm.
    """

    layer_thickness: float = 0.04
    layers_per_cell: int = 20
    group_cells: int = 4
    plate_depth: float = 25.0
    dwell: float = 20.0
    laser_power: float = 250.0
    absorption: float = 0.4
    scan_speed: float = 800.0
    hatch: float = 0.1

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")

    @property
    def cell_height(self) -> float:
        """Height of the finest cell, mm."""
        return self.layer_thickness * self.layers_per_cell
