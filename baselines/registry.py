"""The baselines by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from baselines import (
    bsms,
    deep_sets,
    gat,
    gnot,
    graph_sage,
    graph_unet,
    linear_attention,
    linformer,
    lno,
    meshgraphnet,
    perceiver_io,
    pointnet,
    set_transformer,
    transformer,
    transolver,
    transolver_plus_plus,
    upt,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from baselines.entry import ModelEntry

MODULES = (
    bsms,
    deep_sets,
    gat,
    gnot,
    graph_sage,
    graph_unet,
    linear_attention,
    linformer,
    lno,
    meshgraphnet,
    perceiver_io,
    pointnet,
    set_transformer,
    transformer,
    transolver,
    transolver_plus_plus,
    upt,
)

BASELINES: dict[str, ModelEntry[Any]] = {module.ENTRY.name: module.ENTRY for module in MODULES}
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
