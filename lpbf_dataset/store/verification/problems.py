"""What can be wrong with a store: stable codes, what they mean and what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """Kind of a problem.  The values are stable: scripts may rely on them."""

    NO_MANIFEST = "no_manifest"
    FILES_NOT_LISTED = "files_not_listed"
    BAD_MANIFEST = "bad_manifest"
    MISSING_FILE = "missing_file"
    SIZE_MISMATCH = "size_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    UNEXPECTED_FILE = "unexpected_file"
    BAD_METADATA = "bad_metadata"
    MISSING_ARRAY = "missing_array"
    MISSING_ATTRIBUTE = "missing_attribute"
    WRONG_UNITS = "wrong_units"
    WRONG_DTYPE = "wrong_dtype"
    WRONG_DIMENSIONS = "wrong_dimensions"
    MISSING_CHUNK = "missing_chunk"
    CORRUPT_CHUNK = "corrupt_chunk"
    DUPLICATE_CASE_ID = "duplicate_case_id"
    UNKNOWN_SPLIT = "unknown_split"
    COUNTS_MISMATCH = "counts_mismatch"
    OFFSETS_OUT_OF_ORDER = "offsets_out_of_order"
    STEPS_MISMATCH = "steps_mismatch"
    NOT_ROUNDED = "not_rounded"
    CATALOG_MISMATCH = "catalog_mismatch"
    NOT_FINITE = "not_finite"
    CONNECTIVITY_OUT_OF_RANGE = "connectivity_out_of_range"
    EDGE_ORDER = "edge_order"
    EDGES_MISMATCH = "edges_mismatch"
    INVALID_MESH = "invalid_mesh"
    SURFACE_MISMATCH = "surface_mismatch"
    STATISTICS_MISMATCH = "statistics_mismatch"
    NORMALIZATION_MISMATCH = "normalization_mismatch"


class Explanation(NamedTuple):
    """What a code stands for.

    Parameters
    ----------
    meaning : str
        What is wrong.
    remedy : str
        What to do about it.
    """

    meaning: str
    remedy: str


_COPY = "copy the store again, or build it again"
_BUILD = "build the store again"
_REPORT = "build the store again; if that gives the same, report it"

EXPLANATIONS: dict[Code, Explanation] = {
    Code.NO_MANIFEST: Explanation(
        "the store has no checksums.json, so damage to its files may go unseen",
        "nothing, if an earlier version wrote the store; otherwise " + _COPY,
    ),
    Code.FILES_NOT_LISTED: Explanation(
        "the files cannot be listed at this location, so their sizes were not looked at",
        "verify a copy on a local disk",
    ),
    Code.BAD_MANIFEST: Explanation("checksums.json is damaged", _COPY),
    Code.MISSING_FILE: Explanation("a file that was written is not there", _COPY),
    Code.SIZE_MISMATCH: Explanation("a file is longer or shorter than it was written", _COPY),
    Code.CHECKSUM_MISMATCH: Explanation("a file is not as it was written", _COPY),
    Code.UNEXPECTED_FILE: Explanation("a file that is not part of the store", "move it elsewhere"),
    Code.BAD_METADATA: Explanation("metadata cannot be read or contradict each other", _COPY),
    Code.MISSING_ARRAY: Explanation("an array that every store has is not there", _COPY),
    Code.MISSING_ATTRIBUTE: Explanation("an attribute that the layout demands is not there", _COPY),
    Code.WRONG_UNITS: Explanation("the unit is not that of the layout", _BUILD),
    Code.WRONG_DTYPE: Explanation("the data type is not that of the layout", _BUILD),
    Code.WRONG_DIMENSIONS: Explanation("names or lengths of dimensions are not those of the layout", _BUILD),
    Code.MISSING_CHUNK: Explanation("rows that the case table counts are in no file", _COPY),
    Code.CORRUPT_CHUNK: Explanation("values cannot be decoded", _COPY),
    Code.DUPLICATE_CASE_ID: Explanation("a case id is empty or not unique", _BUILD),
    Code.UNKNOWN_SPLIT: Explanation("a case belongs to none of train, val and test", _BUILD),
    Code.COUNTS_MISMATCH: Explanation("the case table disagrees with the lengths of arrays", _COPY),
    Code.OFFSETS_OUT_OF_ORDER: Explanation("the cases do not lie end to end", _COPY),
    Code.STEPS_MISMATCH: Explanation("the steps of a case contradict each other or its final state", _BUILD),
    Code.NOT_ROUNDED: Explanation("values of a history have more bits than it says it keeps", _BUILD),
    Code.CATALOG_MISMATCH: Explanation("the catalog disagrees with the cases that are stored", _BUILD),
    Code.NOT_FINITE: Explanation("values are NaN or infinite", _BUILD),
    Code.CONNECTIVITY_OUT_OF_RANGE: Explanation("cells or edges name nodes that do not exist", _BUILD),
    Code.EDGE_ORDER: Explanation("the first node of an edge is not less than the second", _REPORT),
    Code.EDGES_MISMATCH: Explanation("the edges are not those of the cells", _REPORT),
    Code.INVALID_MESH: Explanation("the cells do not form a mesh with a closed surface", _REPORT),
    Code.SURFACE_MISMATCH: Explanation("sdf and on_surface contradict each other", _REPORT),
    Code.STATISTICS_MISMATCH: Explanation("a stored statistic is not that of the stored case", _REPORT),
    Code.NORMALIZATION_MISMATCH: Explanation(
        "stored moments are not those of the training cases", _REPORT + "; do not train with it"
    ),
}
"""Meaning and remedy of every code."""

WARNINGS = frozenset({Code.NO_MANIFEST, Code.FILES_NOT_LISTED})
"""Codes that say what could not be checked, rather than what is wrong."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a store.

    Parameters
    ----------
    code : Code
        Its kind; see `EXPLANATIONS`.
    where : str
        File or array by its path in the store, or case and variable.
    message : str
        What was found, in one line.
    """

    code: Code
    where: str
    message: str

    @property
    def is_warning(self) -> bool:
        """Whether the store may be sound all the same."""
        return self.code in WARNINGS


@dataclass
class Report:
    """Collects problems.

    Parameters
    ----------
    problems : list of Problem, optional
        Those found so far.
    """

    problems: list[Problem] = field(default_factory=list)

    def add(self, code: Code, where: str, message: object) -> None:
        """Add a problem; the message, which may be that of an exception, is put on one line."""
        self.problems.append(Problem(code, where, " ".join(str(message).split())[:MAX_MESSAGE_LENGTH]))

    @property
    def has_errors(self) -> bool:
        """Whether anything is wrong so far."""
        return not all(problem.is_warning for problem in self.problems)


MAX_MESSAGE_LENGTH = 300
"""Characters of a message; what it quotes from damaged files may be long."""

UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What damaged metadata and chunks make Zarr libraries raise: they check little before they use it."""
