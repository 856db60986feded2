"""The baselines by name, each with what it takes to build and to cite it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from baselines.pointnet import PointNet, PointNetConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class ModelEntry(Generic[ConfigT]):
    """One kind of model.

    Parameters
    ----------
    name : str
        What users call it; lower case.
    config_type : type
        Dataclass of its options.  Has `in_channels` and `out_channels`; the rest has defaults.
    build : callable
        Makes a freshly initialised model, which follows `baselines.convention.FieldModel`.
    published_parameters : int or None
        Parameter count published for the LPBF setting (3 inputs, 1 output), which the defaults
        reproduce; None where none was published.
    citation : str
        The paper, with its arXiv number or DOI.
    licence : str
        SPDX identifier and place of the code published with the paper.
    """

    name: str
    config_type: type[ConfigT]
    build: Callable[[ConfigT], nn.Module]
    published_parameters: int | None
    citation: str
    licence: str


BASELINES: dict[str, ModelEntry[Any]] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="pointnet",
            config_type=PointNetConfig,
            build=PointNet,
            published_parameters=None,
            citation=(
                "Qi, Su, Mo, Guibas: PointNet: Deep Learning on Point Sets for 3D Classification and "
                "Segmentation. CVPR 2017. arXiv 1612.00593"
            ),
            licence="MIT, github.com/charlesq34/pointnet",
        ),
    )
}
"""Every baseline, by name."""


def find_model(name: str, models: Mapping[str, ModelEntry[Any]]) -> ModelEntry[Any]:
    """Look a model up by name.

    Parameters
    ----------
    name : str
        As the user typed it; case does not matter.
    models : mapping of str to ModelEntry
        Where to look: `BASELINES`, or these and more.

    Raises
    ------
    ValueError
        If there is none of this name; suggests the nearest and lists all.
    """
    if entry := models.get(name.lower()):
        return entry
    nearest = get_close_matches(name.lower(), models, n=1)
    suggestion = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise ValueError(f"no model named {name!r}; {suggestion}there are {', '.join(sorted(models))}")
