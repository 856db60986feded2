"""One case laid ready for a store, so that it need not be read again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lpbf_dataset.build.reading import file_faults, read_case, read_history, value_faults
from lpbf_dataset.curation.rules import first_violation
from lpbf_dataset.curation.shape import shape_descriptor
from lpbf_dataset.sources.base import CaseError, FailureReason
from lpbf_dataset.step_table import StepTable
from lpbf_dataset.store.case_rows import SpooledRows, spool_case, spooled_facts
from lpbf_dataset.store.validate import check_case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lpbf_dataset.build.identity import CaseIdentity
    from lpbf_dataset.build.reading import Extraction
    from lpbf_dataset.case import Case
    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.schema import RaggedDim
    from lpbf_dataset.sources.base import RawCase
    from lpbf_dataset.store.case_rows import CaseRows


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """What is known of a case that could be read, and where its arrays lie.

    Parameters
    ----------
    content_hash : str
        Of the files it was read from.
    counts : mapping of str to int
        Number of rows along each ragged dimension.
    statistics : mapping of str to float or int
        All of `lpbf_dataset.schema.STATISTICS`.
    descriptor : (k,) float64 ndarray or None
        Its shape; None for a case whose arrays were not kept.
    rows : CaseRows or None
        Its arrays; None where a rule rejected it, be it one of an earlier build.
    history : StepTable or None
        Its steps; None where only the final state was asked for, or a rule rejected it.
    """

    content_hash: str
    counts: Mapping[RaggedDim, int]
    statistics: Mapping[str, float | int]
    descriptor: NDArray[np.float64] | None = None
    rows: CaseRows | None = None
    history: StepTable | None = None

    def serves(self, rules: Sequence[Rule]) -> bool:
        """Tell whether the case need not be read again: its arrays are there, or the rules reject it."""
        return self.rows is not None or first_violation(self.statistics, rules) is not None


@dataclass(frozen=True, eq=False)
class Task:
    """A case to extract.

    Parameters
    ----------
    identity : CaseIdentity
        What it is called.
    raw : RawCase
        The case as its source holds it.
    extraction : Extraction
        How.
    rules : sequence of Rule
        Arrays of a case that they reject are not kept.
    spool : Path
        Folder for the arrays.
    earlier : CaseRecord or None
        What an earlier build found out.
    """

    identity: CaseIdentity
    raw: RawCase
    extraction: Extraction
    rules: Sequence[Rule]
    spool: Path
    earlier: CaseRecord | None = field(default=None, repr=False)


def extract(task: Task) -> CaseRecord | CaseError:
    """Read and measure one case, unless that was done before on the same content.

    Parameters
    ----------
    task : Task
        What to do.

    Returns
    -------
    CaseRecord or CaseError
        The error is why the case cannot be used.

    Raises
    ------
    StoreError
        If its arrays cannot be written, for example on a full disk.
    """
    try:
        return _extract(task)
    except CaseError as error:
        return error


def _extract(task: Task) -> CaseRecord:
    with file_faults(task.raw):
        content_hash = task.raw.content_hash()
    if task.earlier and task.earlier.content_hash == content_hash and task.earlier.serves(task.rules):
        return task.earlier
    path = task.spool / f"{_key(task, content_hash)}.safetensors"
    spooled = _spooled(path, content_hash)
    if spooled and spooled.serves(task.rules):
        return spooled
    case = read_case(task.raw, task.extraction)
    facts: dict[str, Any] = {
        "counts": _counts(case, task.extraction.variables),
        "statistics": dict(case.statistics),
        "descriptor": None,
    }
    if first_violation(case.statistics, task.rules):
        spool_case(path, {}, facts)
        return _of_facts(facts, content_hash, path)
    facts["descriptor"] = _descriptor(case).tolist()
    variables = dict(case.variables)
    if task.extraction.steps == "all":
        table, of_history = read_history(task.raw, task.extraction)
        facts["history"] = table.to_json()
        facts["counts"] |= table.counts
        variables |= of_history
    spool_case(path, variables, facts)
    return _of_facts(facts, content_hash, path)


def _counts(case: Case, variables: Sequence[str]) -> dict[RaggedDim, int]:
    with value_faults():
        return check_case(case, variables)


def _descriptor(case: Case) -> NDArray[np.float64]:
    descriptor = shape_descriptor(case.points, case.cells)
    if not np.isfinite(descriptor).all():
        raise CaseError(
            FailureReason.INVALID_MESH, "the part is so thin, small or large that rounding hides its shape"
        )
    return descriptor


def _key(task: Task, content_hash: str) -> str:
    """Name of the file of a case: another one if its content or what is made of it is another."""
    identity = task.identity
    parts = [identity.source, identity.case_id, content_hash, asdict(task.extraction)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _spooled(path: Path, content_hash: str) -> CaseRecord | None:
    facts = spooled_facts(path)
    return _of_facts(facts, content_hash, path) if facts else None


def _of_facts(facts: Mapping[str, Any], content_hash: str, path: Path) -> CaseRecord:
    kept = facts["descriptor"] is not None
    return CaseRecord(
        content_hash,
        facts["counts"],
        facts["statistics"],
        np.array(facts["descriptor"]) if kept else None,
        SpooledRows(path) if kept else None,
        StepTable.from_json(facts["history"]) if "history" in facts else None,
    )
