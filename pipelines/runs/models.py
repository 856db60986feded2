"""Every model by name: FLARE and the baselines, which are trained, and the floors, which are fitted."""

from __future__ import annotations

from typing import Any

from baselines.entry import ModelEntry
from baselines.floors import FLOORS
from baselines.registry import BASELINES
from flare import FLARE, FLAREConfig, FLAREPlusPlusConfig

FLARE_PARAMETERS = 625_473
"""Published parameter count in the LPBF setting (arXiv 2508.12594)."""

MODELS: dict[str, ModelEntry[Any]] = {
    "flare": ModelEntry(
        name="flare",
        config_type=FLAREConfig,
        build=FLARE,
        published_parameters=FLARE_PARAMETERS,
        citation=(
            "Puri, Joglekar, Bandreddi, Ferguson, Chen, Zhang, Kara: FLARE: Fast Low-rank Attention Routing "
            "Engine. arXiv 2508.12594"
        ),
        licence="MIT, github.com/vpuri3/FLARE.py",
    ),
    # None was published for LPBF; at the sizes of FLARE it has 958 273 parameters.
    "flare++": ModelEntry(
        name="flare++",
        config_type=FLAREPlusPlusConfig,
        build=FLARE,
        published_parameters=None,
        citation="FLARE++, FLARE with routing queries computed from the input. arXiv 2608.11519",
        licence="MIT, github.com/vpuri3/FLARE.py",
    ),
    **BASELINES,
}
"""What is trained."""

ALL_MODELS: dict[str, ModelEntry[Any]] = {**MODELS, **FLOORS}
"""What ``lpbf-train`` knows."""
