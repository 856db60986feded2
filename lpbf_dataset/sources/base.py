"""What a source of simulations is: it yields cases, each of which can be read or says why not.

A source never lets one bad case stop the others: finding cases is cheap and does not fail for a
case, reading one either returns data or raises `CaseError` with a typed reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lpbf_dataset.schema import StepKind

UNKNOWN_SOURCE = "unknown"
"""Source of a case whose files do not tell."""

MAX_DETAIL_LENGTH = 500
"""Longest message of a `CaseError`, in characters; room for two long paths."""


class FailureReason(StrEnum):
    """Why a case has no usable result."""

    NO_CASE_FILE = "no_case_file"
    """Preparation failed: the solver wrote no EnSight ``.case`` file."""
    ANALYSIS_TERMINATED = "analysis_terminated"
    """The solver's log says that it gave up."""
    ANALYSIS_UNFINISHED = "analysis_unfinished"
    """The solver's log breaks off without the line that ends a successful run."""
    INCONSISTENT_STEPS = "inconsistent_steps"
    """The numbers of results and geometries do not belong together."""
    MISSING_FILE = "missing_file"
    TRUNCATED_FILE = "truncated_file"
    MALFORMED_FILE = "malformed_file"
    UNSAFE_ARCHIVE = "unsafe_archive"
    """A member, link or reference leads out of its folder, or a file is larger than is plausible."""
    DUPLICATE_CASE = "duplicate_case"
    """Another case of the same id was found earlier."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """No reader is known for the format, or the optional package that reads it is not installed."""
    EMPTY_GEOMETRY = "empty_geometry"
    """The part file holds no triangles."""
    OPEN_SURFACE = "open_surface"
    """The surface has gaps that could not be closed, so that inside and outside are not defined."""
    ZERO_VOLUME = "zero_volume"
    """The surface encloses nothing: a flat sheet, or two sheets back to back."""
    IMPLAUSIBLE_SIZE = "implausible_size"
    """The part is too small or too large to print in any unit that was considered."""
    TOO_MANY_BODIES = "too_many_bodies"
    """A part file holds more separate bodies than any part has."""
    TOO_LARGE = "too_large"
    """The file is larger, or unpacks to more, than is read; or the part needs too many cells."""
    TOO_THIN = "too_thin"
    """Most of the part is thinner than the cells of the solver."""
    INVALID_MESH = "invalid_mesh"
    """Cells are inverted, flat or doubled, or do not fit together as in an octree."""
    SURFACE_MISMATCH = "surface_mismatch"
    """The part surface is missing, open, or not of the same size as the mesh."""
    TIMED_OUT = "timed_out"
    """Reading or simulating it took longer than was allowed."""
    WORKER_DIED = "worker_died"
    """The process that worked on it was killed, twice, by the system for lack of memory or by a fault."""
    NOT_STORED = "not_stored"
    """The rules would keep the case, but it comes from a store whose build rejected it, without its data."""
    SOLVER_FAILED = "solver_failed"
    """The equations of the simulation could not be solved."""


class CaseError(Exception):
    """One case cannot be used; the others can.

    Parameters
    ----------
    reason : FailureReason
        The class of failure, stored in the catalog.
    detail : str
        The file, what is wrong with it, and what was expected.  Kept as one line of bounded length, as
        it may quote from the file.
    """

    def __init__(self, reason: FailureReason, detail: str) -> None:
        detail = " ".join(detail.split())[:MAX_DETAIL_LENGTH]
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[CaseError], tuple[FailureReason, str]]:
        """Keep reason and detail when the error crosses a process boundary."""
        return type(self), (self.reason, self.detail)


class SourceError(ValueError):
    """The source itself cannot be read: a user's mistake, reported in one line with exit code 2."""


@dataclass(frozen=True)
class Step:
    """The state after one step of the process, on the mesh of that step.

    Parameters
    ----------
    number : int
        Number of the result as the source counts them.
    kind : {"deposited", "dwelt", "cooled", "removed", "cut"}
        What the step is: a layer group just deposited, the same after its dwell, the whole
        build cooled down on the plate, the part after plate removal, or the cooled build cut
        loose from some of the plate.
    time : float
        Process time in seconds.
    points : (n, 3) float32 ndarray
        Undeformed node positions in mm; z is the build direction, z = 0 the top of the plate.
    cells : (m, 8) int32 ndarray
        Nodes of each hexahedron, VTK order, zero-based.
    fields : mapping of str to (n,) or (n, k) float32 ndarray
        Nodal fields, named and in the units of `lpbf_dataset.schema.VARIABLES`.
    """

    number: int
    kind: StepKind
    time: float
    points: NDArray[np.float32]
    cells: NDArray[np.int32]
    fields: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class DamagedStep:
    """A step whose state cannot be read.

    Parameters
    ----------
    number : int
        Number of the result as the source counts them.
    kind : {"deposited", "dwelt", "cooled", "removed", "cut"}
        What the step is.
    time : float
        Process time in seconds.
    error : CaseError
        What is wrong with its files.
    """

    number: int
    kind: StepKind
    time: float
    error: CaseError


@dataclass(frozen=True)
class Surface:
    """The triangulated surface of a part, as designed.

    Parameters
    ----------
    triangles : (n, 3, 3) float32 ndarray
        Corners of each triangle in mm.
    name : str
        File name it was read from.
    """

    triangles: NDArray[np.float32]
    name: str


class RawCase(Protocol):
    """One simulated body as a source holds it.  Picklable; opens no file until asked."""

    @property
    def case_id(self) -> str:
        """Unique name of the printed body."""

    @property
    def design_id(self) -> str:
        """Name of the parent CAD model."""

    @property
    def source(self) -> str:
        """Name of what computed the case, for example ``"netfabb"``; `UNKNOWN_SOURCE` if no file tells."""

    @property
    def location(self) -> str:
        """Where the case lies, for messages and the catalog."""

    def content_hash(self) -> str:
        """Hash of the files that make up the case; equal whether zipped or unpacked."""

    def field_names(self) -> Sequence[str]:
        """Name the fields that the case has, without reading them.  Raises `CaseError`."""

    def steps(self, fields: Collection[str] | None = None) -> Sequence[Step]:
        """Read every step, each with its own mesh.  Raises `CaseError`."""

    def final_step(self, fields: Collection[str] | None = None) -> Step:
        """Read the state after plate removal alone.  Raises `CaseError`."""

    def history(self, fields: Collection[str] | None = None) -> Iterator[Step | DamagedStep]:
        """Read the steps one after another; none where there is but a final state.

        A step whose files are damaged does not keep the others from being read.  Raises `CaseError`.
        """

    def surface(self) -> Surface | None:
        """Read the part surface, or None where the case has none.  Raises `CaseError`."""


class Source(Protocol):
    """A place that holds simulated cases."""

    def cases(self) -> Iterator[RawCase]:
        """Yield the cases in a fixed order, whether they can be read or not."""


FUSION_360_DESIGN = re.compile(r"\d+_[0-9a-f]{8}", re.IGNORECASE)
"""Names of the designs of the Fusion 360 Gallery."""

PROCEDURAL_DESIGN = re.compile(r"(?:bracket|bridge|flange|gear|lattice|overhang|ring|thin_wall)_\d{6,}")
"""Names of the designs of `lpbf_dataset.parts`."""

_BODY_OF_DESIGN = tuple(
    re.compile(rf"(?P<design>{design.pattern})_+[0-9a-z]+", re.IGNORECASE)
    for design in (FUSION_360_DESIGN, PROCEDURAL_DESIGN)
)


def parent_design(case_id: str, part_name: str = "") -> str:
    """Name of the parent design of a case.

    Fusion 360 Gallery bodies are called ``<number>_<hash>_<body>``, procedural parts
    ``<family>_<number>_<body>``; all but the body names the design.  Netfabb folders often carry
    that name, otherwise the part file may.

    Parameters
    ----------
    case_id : str
        Name of the case.
    part_name : str, optional
        Name of its part file.

    Returns
    -------
    str
        The design, or `case_id` itself when neither name follows the pattern.
    """
    for name in (case_id, part_name):
        for pattern in _BODY_OF_DESIGN:
            if match := pattern.match(name):
                return match["design"]
    return case_id
