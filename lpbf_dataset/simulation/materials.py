"""Materials: elastic, thermal and inherent-strain properties, each number with its source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from lpbf_dataset.simulation.inherent_strain import EdgeRelaxation

REFERENCE_TEMPERATURE = 25.0
"""degC at which the thermal strain is zero, and of the surroundings."""

UNCALIBRATED = "uncalibrated"

UNCALIBRATED_STRAIN = -0.0081
"""In-plane inherent strain that, alone, describes the Netfabb run with Inconel 625 best."""


@dataclass(frozen=True)
class Material:
    """Properties at room temperature; the solver is linear.

    Parameters
    ----------
    name : str
        Name as users type it.
    young : float
        Young's modulus, MPa.
    poisson : float
        Poisson's ratio, 1.
    expansion : float
        Coefficient of linear thermal expansion, 1/K.
    conductivity : float
        Thermal conductivity, W/(mm K).
    specific_heat : float
        J/(kg K).
    density : float
        kg/mm3.
    inherent_strain : float
        In-plane inherent strain away from edges, 1; negative for shrinkage.
    relaxation : EdgeRelaxation or None
        How the inherent strain relaxes near edges; None for not at all.
    calibration : str
        What the inherent strain was identified from; "uncalibrated" if it was not.
    source : str
        Where the properties come from.
    """

    name: str
    young: float
    poisson: float
    expansion: float
    conductivity: float
    specific_heat: float
    density: float
    inherent_strain: float
    relaxation: EdgeRelaxation | None
    calibration: str
    source: str


MATERIALS: dict[str, Material] = {
    material.name: material
    for material in (
        Material(
            name="inconel625",
            young=150e3,
            poisson=0.278,
            expansion=1.28e-5,
            conductivity=0.010,
            specific_heat=405.0,
            density=8.44e-6,
            inherent_strain=-0.0086785,
            # Identified from the nodal stress and strain of the same Netfabb run.
            relaxation=EdgeRelaxation(strength=0.687, along=0.618, reach=2.0, run=4.35),
            calibration="nodal stress, strain and displacement of one Netfabb run",
            source="Autodesk Netfabb 2024, generic Inconel 625 at 40 um, values at 25 degC",
        ),
        Material(
            name="ti6al4v",
            young=113.8e3,
            poisson=0.342,
            expansion=8.6e-6,
            conductivity=0.0067,
            specific_heat=526.3,
            density=4.43e-6,
            inherent_strain=-0.0070,
            relaxation=None,
            # benchmarks/published_population.py on 45 Fusion 360 Gallery parts.
            calibration="population statistics only: the mean largest z displacement of the published set",
            source="ASM data sheet MTP641 (asm.matweb.com): Ti-6Al-4V grade 5, annealed",
        ),
        Material(
            name="316l",
            young=193e3,
            poisson=0.3,  # the customary value for austenitic steel
            expansion=16.0e-6,
            conductivity=0.0163,
            specific_heat=500.0,
            density=8.0e-6,
            inherent_strain=UNCALIBRATED_STRAIN,
            relaxation=None,
            calibration=UNCALIBRATED,
            source="ASM data sheet MQ316J (asm.matweb.com): AISI 316, annealed bar",
        ),
        Material(
            name="alsi10mg",
            young=75e3,
            poisson=0.33,  # the customary value for aluminium alloys
            expansion=21.0e-6,  # EN AC-43000, casting alloy of the same composition
            conductivity=0.103,
            specific_heat=920.0,
            density=2.67e-6,
            inherent_strain=UNCALIBRATED_STRAIN,
            relaxation=None,
            calibration=UNCALIBRATED,
            source="EOS Aluminium AlSi10Mg material data sheet (as built, horizontal)",
        ),
    )
}


def load_material(name: str) -> Material:
    """Look a material up by name, or read it from a file that `save_material` wrote.

    Parameters
    ----------
    name : str
        Name in `MATERIALS`, in any case, or path of a YAML file.

    Returns
    -------
    Material

    Raises
    ------
    ValueError
        If it is neither, or the file does not hold a material.
    """
    if name.lower() in MATERIALS:
        return MATERIALS[name.lower()]
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        raise ValueError(
            f"no material named {name!r}; there are {', '.join(MATERIALS)}, or give a .yaml file "
            "written by lpbf-simulate calibrate"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        relaxation = values.pop("relaxation")
        return Material(**values, relaxation=relaxation and EdgeRelaxation(**relaxation))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold a material: {' '.join(str(error).split())}") from error


def save_material(material: Material, path: Path) -> None:
    """Write a material to a YAML file that `load_material` reads.

    Parameters
    ----------
    material : Material
    path : Path
        The file; missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(yaml.safe_dump(asdict(material), sort_keys=False), encoding="utf-8")
    partial.replace(path)
