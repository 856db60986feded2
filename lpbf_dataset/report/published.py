"""Facts of the published LPBF set, to compare a regenerated one with.

Counts, means and the selection are those of V. Puri et al., "FLARE: Fast Low-rank Attention Routing
Engine", arXiv 2508.12594, and of its release ``vedantpuri/LPBF_FLARE``; quantiles were computed from
that release.
"""

from __future__ import annotations

SOURCE = "Puri et al., FLARE, arXiv 2508.12594"
BIBTEX = """\
@misc{puri2025flare,
  title         = {{FLARE}: Fast Low-rank Attention Routing Engine},
  author        = {Puri, Vedant and Joglekar, Aditya and Bandreddi, Sri Datta Ganesh and Ferguson, Kevin
                   and Chen, Yu-hsuan and Zhang, Yongjie Jessica and Kara, Levent Burak},
  year          = {2025},
  eprint        = {2508.12594},
  archivePrefix = {arXiv},
}
"""

SIMULATED_CASES = 3398
KEPT_CASES = 1390
SPLIT_CASES = {"train": 1100, "test": 290}
"""The published split is random over cases and has no validation set."""
CASES_WITH_SIBLINGS = 478
"""Kept cases that share a parent design with another kept case."""

KEPT_MEANS = {
    "nodes": 20_972,
    "cells": 11_193,
    "mean_aspect_ratio": 1.64,
    "max_z": 29.4,
    "max_displacement_z": 0.295,
    "max_von_mises_stress": 853.0,
}
"""Mean over the kept cases, in the units of `lpbf_dataset.schema.STATISTICS`."""
KEPT_MAXIMA = {"nodes": 47_542}
"""Maximum over the kept cases."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CELL_QUANTILES = {
    "simulated": (1727, 6784, 13_395, 24_635, 51_183),
    "kept": (1919, 5613, 10_568, 16_331, 23_007),
}
"""Cells per case at `QUANTILES`."""
SIMULATED_CELLS_MEAN = 18_190
