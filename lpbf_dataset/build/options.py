"""What goes into a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lpbf_dataset.curation.splits import DEFAULT_FRACTIONS, SplitMethod
from lpbf_dataset.features import SdfSurface  # noqa: TC001 - read by the command's parser
from lpbf_dataset.schema import Split  # noqa: TC001 - likewise
from lpbf_dataset.store.rounding import MANTISSA_BITS


class BuildError(ValueError):
    """Nothing was written, because no case could be kept or the options make no sense."""


@dataclass(frozen=True)
class BuildOptions:
    """What goes into a store; recorded in its attributes.

    Parameters
    ----------
    fields : {"basic", "all"}
        Displacement, von Mises stress and temperature, or besides these every nodal field that all
        cases have.
    steps : {"final", "all"}
        The state after plate removal alone, or also the history: the states after every step of the build,
        each on its own mesh.
    round_history : int, optional
        Bits behind the point, 1 to 23, to which the fields of the history are rounded, so that they take
        less space: 10 for a relative error of at most 2^-11, or 0.05 %, of each value.  Meshes and final
        states are never rounded.  By default nothing is.
    rules : str
        Cases to keep: "published" for the published selection, "two_sided" for the same with a lower bound
        on the displacement too, "none" for every case that can be read, or a YAML file of bounds.
    split : {"design", "random", "size", "official", "largest", "tallest", "thinnest"}
        Keep bodies of one design in one split, draw single cases, give each split the same distribution of
        sizes, follow a list (`split_file`, or else that of the publisher of the parts, or the splits of the
        earlier store that cases come from), or hold out the largest parts, the tallest, or those with the
        thinnest walls.
    split_file : str
        CSV of case_id and split, or JSON or YAML of a list of case ids for each split.
    split_fractions : dict
        Share of the cases in "train", "val" and "test".
    seed : int
        Seed of the split, and of procedural parts.
    sdf_surface : {"mesh", "stl"}
        What the distances of the geometry features are taken to: the surface of the mesh, or that of
        the part as designed, which every case must then have.
    licence : str
        Terms of the source data; empty for what the names of the designs tell.
    citation : str
        What to cite for the source data; empty for what the names of the designs tell.

    Raises
    ------
    BuildError
        If there is no history to round, or it cannot be rounded so.
    """

    fields: Literal["basic", "all"] = "basic"
    steps: Literal["final", "all"] = "final"
    round_history: int | None = None
    rules: str = "published"
    split: SplitMethod = "design"
    split_file: str = ""
    split_fractions: dict[Split, float] = field(default_factory=lambda: dict(DEFAULT_FRACTIONS))
    seed: int = 0
    sdf_surface: SdfSurface = "mesh"
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if self.round_history is None:
            return
        if not 1 <= self.round_history <= MANTISSA_BITS:
            raise BuildError(f"round_history is {self.round_history}; give 1 to {MANTISSA_BITS} bits")
        if self.steps != "all":
            raise BuildError("round_history rounds what steps 'final' leaves out; give steps 'all' too")
