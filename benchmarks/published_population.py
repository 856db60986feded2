"""The embedded solver on Fusion 360 Gallery parts beside the statistics of the published LPBF set.

    python benchmarks/published_population.py PARTS_DIR RESULTS_DIR [--workers 2]

Simulates every part with the set-up of the published set (Ti-6Al-4V, 0.03 mm layers, longest edge
60 mm), with the inherent strain of the material and with 0.8 times it; parts that lie in RESULTS_DIR
already are not simulated again.  Prints what became of each part, the mesh and result statistics
beside the published ones, and the inherent strain with which the kept parts would have the published
mean of max displacement_z.  The solver is linear in that strain, apart from the thermal strain that
activation freezes in, so two simulations of a part give its statistics for any other.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from lpbf_dataset.build import Extraction, read_case
from lpbf_dataset.curation.rules import first_violation, load_rules
from lpbf_dataset.report.published import CELL_QUANTILES, KEPT_MEANS, QUANTILES
from lpbf_dataset.schema import field_names
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.netfabb import NetfabbSource
from pipelines.simulate import SimulateOptions, find_parts, run_simulations

# Statistics of the published set (FLARE, arXiv 2508.12594, and its release vedantpuri/LPBF_FLARE).
EXTRACTION = Extraction(field_names(include_optional=False))


def read_statistics(results: Path, names: list[str]) -> pd.DataFrame:
    """Statistics of every part that was simulated; failures are printed."""
    rows = []
    for name in names:
        (case,) = NetfabbSource(results / name).cases()
        try:
            rows.append(
                read_case(case, Extraction(field_names(include_optional=False))).statistics | {"part": name}
            )
        except CaseError as error:
            print(f"failed: {name}: {error.detail}")
    return pd.DataFrame(rows).set_index("part")


def at_strain(strain: float, given: dict[float, pd.DataFrame]) -> pd.DataFrame:
    """Statistics with another inherent strain, on the line through two that were simulated."""
    (first, at_first), (second, at_second) = given.items()
    weight = (strain - first) / (second - first)
    linear = [name for name in at_first if "displacement" in name or "stress" in name]
    return at_first.assign(**{n: at_first[n] + weight * (at_second[n] - at_first[n]) for n in linear})


def kept(statistics: pd.DataFrame) -> pd.DataFrame:
    """Parts that the published rules keep."""
    return statistics[
        [first_violation(row, load_rules("published")) is None for row in statistics.to_dict("records")]
    ]


def calibrated_strain(given: dict[float, pd.DataFrame]) -> float:
    """Smallest inherent strain that gives the kept parts the published mean displacement, to 1 %."""
    target = KEPT_MEANS["max_displacement_z"]
    strains = -np.geomspace(0.001, 0.03, 2001)
    # Parts drop out as they distort more, so larger strains may give the same mean of fewer parts.
    means = np.array([kept(at_strain(e, given))["max_displacement_z"].mean() for e in strains])
    return float(strains[np.flatnonzero(abs(means / target - 1.0) < 0.01)].max(initial=strains.min()))


def print_table(statistics: pd.DataFrame) -> None:
    """Ours beside the published figures."""
    selected = kept(statistics)
    print(f"\n{len(statistics)} parts simulated, {len(selected)} kept by the published rules")
    print(f"{'mean over kept parts':<24}{'ours':>12}{'published':>12}")
    for name, published in KEPT_MEANS.items():
        print(f"{name:<24}{selected[name].mean():>12.4g}{published:>12.4g}")
    print(f"{'cells, quantiles':<24}" + "".join(f"{q:>10.0%}" for q in QUANTILES))
    for label, group in (("simulated", statistics), ("kept", selected)):
        ours = group["cells"].quantile(list(QUANTILES))
        print(f"{f'{label}, ours':<24}" + "".join(f"{value:>10.0f}" for value in ours))
        print(f"{f'{label}, published':<24}" + "".join(f"{value:>10d}" for value in CELL_QUANTILES[label]))
    print(
        f"{'aspect ratio, ours':<24}"
        + "".join(f"{value:>10.2f}" for value in statistics["mean_aspect_ratio"].quantile(list(QUANTILES)))
    )


def main() -> None:
    """Simulate, compare, calibrate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    parts = find_parts([options.parts])
    setup = SimulateOptions(preset="published").setup()
    given = {}
    for strain in (setup.material.inherent_strain, 0.8 * setup.material.inherent_strain):
        variant = replace(setup, material=replace(setup.material, inherent_strain=strain))
        folder = options.results / f"{strain:.5f}"
        run_simulations(parts, variant, folder, options.workers, quiet=False)
        given[strain] = read_statistics(folder, [part.name for part in parts])
    print_table(given[setup.material.inherent_strain])
    found = calibrated_strain(given)
    after = kept(at_strain(found, given))
    print(
        f"\nwith an inherent strain of {found:.5f} the {len(after)} parts kept would have max displacement_z "
        f"{after['max_displacement_z'].mean():.4f} mm and max von Mises stress "
        f"{after['max_von_mises_stress'].mean():.0f} MPa on average; "
        f"the material has {setup.material.inherent_strain:.5f}"
    )


if __name__ == "__main__":
    main()
