"""How the cases of a store were simulated, as far as it is known and the same for all."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lpbf_dataset.build.identity import as_text
from lpbf_dataset.build.stored import StoredCase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lpbf_dataset.simulation.job import PartSetup
    from lpbf_dataset.sources.base import RawCase


def recorded_simulation(
    found: Iterable[RawCase | StoredCase], kept: Iterable[str], setup: PartSetup | None
) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Find the setup of the solver to record in a store, which is one for all of its cases.

    Parameters
    ----------
    found : iterable of RawCase or StoredCase
        Every case; of several of one id the first counts.  Those of earlier stores tell how they were
        simulated, if that was recorded there.
    kept : iterable of str
        Ids of the cases that go into the store.
    setup : PartSetup or None
        How the others were simulated, if it is known.

    Returns
    -------
    simulation : mapping of str to JSON values, or None
        What `lpbf_dataset.simulation.recorded.setup_from_json` reads; None where cases differ or none tells.
    warnings : list of str
        A sentence if what is known of some cases is lost.
    """
    # As it comes back from a store: JSON knows no tuples.
    given = json.loads(json.dumps(asdict(setup))) if setup else None
    told: dict[str, Mapping[str, Any] | None] = {}
    for raw in found:
        told.setdefault(as_text(raw.case_id), raw.simulation if isinstance(raw, StoredCase) else given)
    of_kept = [told[case_id] for case_id in kept]
    if all(simulation == of_kept[0] for simulation in of_kept):
        return of_kept[0], []
    return None, [
        "the cases were not all simulated alike, or it is not known of all how: the store records no setup "
        "of the solver, so predictions with models of it mesh parts by the default"
    ]
