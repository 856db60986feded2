"""Some nodes of each case, and its extremes: what plots of predicted over true values need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case

MAX_NODES = 100_000
"""Of all cases together: enough for a smooth density, a few megabytes a target."""


class NodeSample:
    """Observes predictions one case at a time and keeps as many nodes of each, drawn at random.

    Parameters
    ----------
    targets : sequence of str
        Scalar fields that are predicted.
    cases : int
        How many will come.
    """

    def __init__(self, targets: Sequence[str], cases: int) -> None:
        self._targets = tuple(targets)
        self._nodes_per_case = max(1, MAX_NODES // max(1, cases))
        self._nodes: list[pd.DataFrame] = []
        self._peaks: list[dict[str, Any]] = []

    def __call__(self, case: Case, prediction: NDArray[np.floating]) -> None:
        """Take from one case, whose (nodes, targets) prediction is in the units of the fields."""
        count = min(self._nodes_per_case, case.node_count)
        # Any sample is as good as another; the same cases give the same plot.
        nodes = np.random.default_rng(len(self._peaks)).choice(case.node_count, count, replace=False)
        for column, target in enumerate(self._targets):
            truth, predicted = case.scalar(target), prediction[:, column]
            of_case = {"case_id": case.case_id, "target": target, "split": case.split}
            self._nodes.append(
                pd.DataFrame({**of_case, "truth": truth[nodes], "predicted": predicted[nodes]})
            )
            self._peaks.append(
                {**of_case, "truth": np.abs(truth).max(), "predicted": np.abs(predicted).max()}
            )

    def nodes(self, target: str) -> pd.DataFrame:
        """Return the nodes: columns ``case_id``, ``target``, ``split``, ``truth`` and ``predicted``."""
        rows = pd.concat(self._nodes, ignore_index=True)
        return rows[rows["target"] == target]

    def peaks(self, target: str) -> pd.DataFrame:
        """Return the largest absolute values of each case, in the columns of `nodes`."""
        rows = pd.DataFrame(self._peaks)
        return rows[rows["target"] == target]
