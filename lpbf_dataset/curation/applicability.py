"""Whether a part resembles those that a model was trained on, without which no prediction can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from lpbf_dataset.curation.shape import DESCRIPTOR_SIZE, shape_descriptor
from lpbf_dataset.curation.statistics import mesh_statistics
from lpbf_dataset.schema import STATISTICS
from lpbf_dataset.store.layout import STATISTIC_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from lpbf_dataset.case import Case
    from lpbf_dataset.store.reader import Dataset

RANGES = ("nodes", "max_z", "volume", "wall_thickness", "mean_aspect_ratio", "max_aspect_ratio")
"""Statistics of the mesh alone, which a part has before anything is simulated."""

FAMILIAR_SHARE = 0.95
"""Share of the training cases that are as near to another one as a part should be to any."""

_DIGITS = 5
"""Decimals of descriptors that are kept; the numbering of the cells changes them by up to 0.002."""


@dataclass(frozen=True, eq=False)
class Applicability:
    """The parts that a model was trained on, as far as it takes to tell whether another one is like them.

    Parameters
    ----------
    ranges : mapping of str to (float, float)
        Least and largest value over the training cases of the statistics `RANGES`, those that there are.
    extent : (float, float, float) or None
        Sides of the box that holds every training case, mm; None where it is not known.
    case_ids : tuple of str
        Training cases whose shape is known.
    descriptors : (cases, k) float64 ndarray
        Their shapes; see `lpbf_dataset.curation.shape`.
    """

    ranges: Mapping[str, tuple[float, float]]
    extent: tuple[float, float, float] | None
    case_ids: tuple[str, ...]
    descriptors: NDArray[np.float64]

    @classmethod
    def of_store(cls, store: Dataset) -> Self:
        """Describe the training cases of a store, from its case table alone."""
        training = store.train
        table = training.case_table
        columns = {
            name: table[STATISTIC_PREFIX + name] for name in RANGES if STATISTIC_PREFIX + name in table
        }
        # All of them are positive; a statistic that was not computed is stored as NaN or -1.
        known = {name: column[column > 0] for name, column in columns.items()}
        ranges = {
            name: (float(values.min()), float(values.max())) for name, values in known.items() if len(values)
        }
        moments = store.attributes["normalization"].get("points")
        extent = None
        if moments:
            width, depth, height = (
                float(high - low) for low, high in zip(moments["min"], moments["max"], strict=True)
            )
            extent = (width, depth, height)
        shapes = training.shape_descriptors()
        return cls(ranges, extent, tuple(shapes), _rows(shapes))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` takes."""
        return {
            "ranges": {name: list(bounds) for name, bounds in self.ranges.items()},
            "extent": self.extent and list(self.extent),
            "shapes": dict(zip(self.case_ids, self.descriptors.round(_DIGITS).tolist(), strict=True)),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the values are something else.
        """
        shapes = {str(name): [float(entry) for entry in shape] for name, shape in values["shapes"].items()}
        extent = None
        if values["extent"] is not None:
            width, depth, height = map(float, values["extent"])
            extent = (width, depth, height)
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in values["ranges"].items()}
        return cls(ranges, extent, tuple(shapes), _rows(shapes))

    def remarks(self, case: Case) -> tuple[str, ...]:
        """Say in one line each what sets a part apart from the training cases; nothing if nothing does.

        Parameters
        ----------
        case : Case
            With points, cells and edges.
        """
        return (*self._outside(case), *self._larger(case), *self._unlike(case))

    def _outside(self, case: Case) -> Iterator[str]:
        statistics = mesh_statistics(case.variables)
        for name, (low, high) in self.ranges.items():
            value = float(statistics[name])
            # Low ratios are good cells.
            if value > high or (value < low and not name.endswith("aspect_ratio")):
                what, unit = STATISTICS[name].long_name, STATISTICS[name].units
                symbol = "" if unit == "1" else f" {unit}"
                yield f"{what} {value:.4g}{symbol}: the training cases have {low:.4g} to {high:.4g}{symbol}"

    def _larger(self, case: Case) -> Iterator[str]:
        if self.extent is None:
            return
        extent = np.ptp(case.points, axis=0)
        # Single precision, and nothing else, may put a part of the same size beyond.
        if (extent > np.array(self.extent) * (1 + 1e-5)).any():
            yield f"size {_sizes(extent)} mm: the training cases fill a box of {_sizes(self.extent)} mm"

    def _unlike(self, case: Case) -> Iterator[str]:
        if len(self.descriptors) < 2:
            return
        tree = cKDTree(self.descriptors)
        distance, nearest = tree.query(shape_descriptor(case.points, case.cells))
        usual = float(np.quantile(tree.query(self.descriptors, 2)[0][:, 1], FAMILIAR_SHARE))
        if distance > usual:
            yield (
                f"shape unlike the training cases: {distance:.3f} from the nearest, "
                f"{self.case_ids[int(nearest)]}, where {FAMILIAR_SHARE:.0%} of them have another one "
                f"within {usual:.3f}"
            )


def _rows(shapes: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.array(list(shapes.values()), dtype=np.float64).reshape(len(shapes), DESCRIPTOR_SIZE)


def _sizes(extent: NDArray[np.floating] | tuple[float, float, float]) -> str:
    return " x ".join(f"{length:.4g}" for length in extent)
