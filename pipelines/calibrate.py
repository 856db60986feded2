"""``lpbf-simulate calibrate``: a material whose inherent strain meets given results."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from lpbf_dataset.simulation.calibration import Reference, calibrate
from lpbf_dataset.simulation.materials import save_material
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.netfabb import NetfabbSource
from pipelines.console import UserError, add_verbosity, from_options, set_verbosity
from pipelines.simulate import SimulateOptions


def build_parser() -> ArgumentParser:
    """Return the command's options."""
    parser = ArgumentParser(
        prog="lpbf-simulate calibrate",
        description="Fit the inherent strain of a material to results, Netfabb's or the embedded solver's.",
    )
    parser.add_argument(
        "--reference", nargs="+", type=Path, required=True, help="folders or archives of results"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="material file to write")
    parser.add_argument(
        "--law", choices=["scalar", "full"], default="scalar", help="one strain, or with edge relaxation"
    )
    parser.add_class_arguments(SimulateOptions, skip={"scale_to", "orient"})
    add_verbosity(parser)
    return parser


def run(arguments: list[str]) -> int:
    """Calibrate a material; return the exit code."""
    options = build_parser().parse_args(arguments)
    set_verbosity(options)
    setup = from_options(SimulateOptions, options).setup()
    try:
        references = [
            Reference.of(case) for path in options.reference for case in NetfabbSource(path).cases()
        ]
        fit = calibrate(
            references,
            setup.material,
            setup.settings,
            options.law,
            (lambda _: None) if options.quiet else print,
        )
    except CaseError as error:
        raise UserError(error.detail) from error
    save_material(fit.material, options.output)
    if not options.quiet:
        strain, relaxation = fit.material.inherent_strain, fit.material.relaxation
        print(f"inherent strain {strain:.7f}, edge relaxation {relaxation or 'none'}")
        print(f"displacement R2 {fit.r2:.5f}, RMS error {fit.rms_error:.3g} mm")
        print(f"use it with: lpbf-simulate PART -o DIR --material {options.output}")
    return 0
