"""Every case of the sources, each with what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.build.extraction import Task, extract
from lpbf_dataset.build.identity import identify, is_text
from lpbf_dataset.build.reading import file_faults
from lpbf_dataset.build.stored import StoredCase
from lpbf_dataset.engine import TaskError
from lpbf_dataset.schema import field_names
from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lpbf_dataset.build.extraction import CaseRecord
    from lpbf_dataset.build.identity import CaseIdentity
    from lpbf_dataset.build.reading import Extraction
    from lpbf_dataset.curation.rules import Rule
    from lpbf_dataset.engine import Engine
    from lpbf_dataset.sources.base import RawCase

Outcome = tuple["CaseIdentity", "CaseRecord | CaseError"]
"""A case found, and what is known of it or why it cannot be used."""


def common_fields(found: Sequence[RawCase | StoredCase], engine: Engine) -> tuple[str, ...]:
    """Name the basic fields, and the optional ones of every case that can be read.

    Parameters
    ----------
    found : sequence of RawCase or StoredCase
        The cases.
    engine : Engine
        Looks into them.

    Returns
    -------
    tuple of str
        In the order of the schema.
    """
    basic = field_names(include_optional=False)
    common = set(field_names(include_optional=True))
    for _, names in engine.map(_names, found):
        # A case that cannot be read is accounted for when its turn comes.
        if not isinstance(names, TaskError) and names is not None:
            common &= set(names)
    return tuple(name for name in field_names(include_optional=True) if name in common | set(basic))


def _names(raw: RawCase | StoredCase) -> tuple[str, ...] | None:
    try:
        with file_faults(raw):
            return tuple(raw.field_names())
    except CaseError:
        return None


def extract_all(
    found: Sequence[RawCase | StoredCase],
    extraction: Extraction,
    rules: Sequence[Rule],
    spool: Path,
    earlier: Mapping[str, CaseRecord],
    engine: Engine,
) -> Iterator[Outcome]:
    """Extract each case that is not a duplicate.

    Parameters
    ----------
    found : sequence of RawCase or StoredCase
        The cases; of several of one id the first counts.
    extraction : Extraction
        How.
    rules : sequence of Rule
        Arrays of cases that they reject are not kept.
    spool : Path
        Folder for the arrays.
    earlier : mapping of str to CaseRecord
        What an earlier build knows, by case id.
    engine : Engine
        Does the work.

    Yields
    ------
    Outcome
        In order of completion, one for each case found.

    Raises
    ------
    StoreError
        If arrays cannot be written, for example on a full disk.
    """
    first: dict[str, CaseIdentity] = {}
    tasks = []
    for raw in found:
        identity = identify(raw)
        if not is_text(raw.case_id):
            yield identity, CaseError(FailureReason.MALFORMED_FILE, "the name is not UTF-8; rename the case")
        elif identity.case_id in first:
            where = first[identity.case_id].location
            yield identity, CaseError(FailureReason.DUPLICATE_CASE, f"also found at {where}")
        else:
            first[identity.case_id] = identity
            if isinstance(raw, StoredCase):
                yield identity, raw.outcome
            else:
                record = earlier.get(identity.case_id)
                tasks.append(Task(identity, raw, extraction, rules, spool, record))
    for index, result in engine.map(extract, tasks):
        if isinstance(result, TaskError):
            result = CaseError(FailureReason(result.kind), result.detail)
        yield tasks[index].identity, result
