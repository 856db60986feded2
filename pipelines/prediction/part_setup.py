"""How a part is meshed and simulated for a model: as its training cases were, unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trimesh

from lpbf_dataset.simulation.job import PartSetup
from lpbf_dataset.simulation.materials import MATERIALS
from lpbf_dataset.simulation.settings import SimulationSettings
from lpbf_dataset.sources.part_files import plate_frame
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.runs.training_set import TrainingSet
    from pipelines.simulate import SimulateOptions


def training_setup(training: TrainingSet | None) -> PartSetup:
    """How the training cases were simulated, as far as it is known.

    Their scale and orientation are left out: a part is printed at its own size.

    Parameters
    ----------
    training : TrainingSet or None
        Where it tells no more than the height of the cells, the rest is the default of ``lpbf-simulate``.
    """
    if training is not None and training.simulation is not None:
        return replace(training.simulation, scale_to=None, orient="as-is")
    default = PartSetup(next(iter(MATERIALS.values())))
    if training is None or training.cell_height is None:
        return default
    return replace(default, settings=_of_height(training.cell_height))


def chosen_setup(options: SimulateOptions, training: TrainingSet | None) -> PartSetup:
    """Return the setup of the training cases with what a user chose otherwise.

    Parameters
    ----------
    options : SimulateOptions
        A preset replaces all of it.
    training : TrainingSet or None
        What is known of the training cases.

    Raises
    ------
    UserError
        If an option has no sensible value.
    """
    if options.preset != "default":
        return options.setup()
    base = training_setup(training)
    layer = options.layer_thickness or base.settings.layer_thickness
    chosen = replace(
        options, layer_thickness=layer, finest_cell=options.finest_cell or base.settings.cell_height
    ).setup()
    settings = replace(base.settings, layer_thickness=layer, layers_per_cell=chosen.settings.layers_per_cell)
    return replace(chosen, settings=settings, material=chosen.material if options.material else base.material)


def check_placement(setup: PartSetup) -> None:
    """Raise `UserError` if no part can be placed so."""
    try:
        plate_frame(trimesh.creation.box(), setup.scale_to, setup.orient)
    except ValueError as error:
        raise UserError(f"--simulation: {error}") from error


def setup_remarks(setup: PartSetup, training: TrainingSet | None, *, simulates: bool) -> tuple[str, ...]:
    """Say where a setup is not known to be that of the training cases.

    Parameters
    ----------
    setup : PartSetup
        What is used.
    training : TrainingSet or None
        What is known of the training cases.
    simulates : bool
        Whether the material matters, as the part is simulated, too.
    """
    remarks = []
    height = setup.settings.cell_height
    usual = training.cell_height if training else None
    if usual is not None and abs(height / usual - 1.0) > 1e-3:
        remarks.append(
            f"meshed with cells of {height:g} mm, where the training cases have {usual:g} mm: "
            "the model has seen no such mesh"
        )
    if simulates and (training is None or training.simulation is None):
        remarks.append(
            f"simulated with {setup.material.name}: the store does not tell how its cases were; "
            "choose by --simulation.material"
        )
    return tuple(remarks)


def _of_height(cell_height: float) -> SimulationSettings:
    """Make settings with cells of a height, and layers of the default thickness if these fit in."""
    default = SimulationSettings()
    layers = round(cell_height / default.layer_thickness)
    if layers and abs(layers * default.layer_thickness - cell_height) < 1e-6:
        return replace(default, layers_per_cell=layers)
    return replace(default, layer_thickness=cell_height / default.layers_per_cell)
