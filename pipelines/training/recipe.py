"""Recipes: named sets of options of ``lpbf-train``, as YAML files in the package.

``recipes/<recipe>.yaml`` holds options of training for every model, ``recipes/<recipe>.<model>.yaml``
what is otherwise for one model.  A recipe without a file for all exists for the models of its files alone.

======  ==================================================================================================
recipe  what it is
======  ==================================================================================================
lpbf    as trained for the published comparison on laser powder bed fusion (arXiv 2508.12594)
paper   as the authors of the model trained it, on problems of their own; named in the file
tiny    a demonstration on a CPU
======  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.console import UserError, did_you_mean

FOLDER = Path(__file__).parents[1] / "recipes"
DEFAULT_RECIPE = "lpbf"

Recipes = Mapping[str, Sequence[Path]]
"""Files by name of the recipe; a later file is stronger."""


def recipes_of(model: str) -> Recipes:
    """Return the recipes that exist for a model.

    Parameters
    ----------
    model : str
        Name in `pipelines.runs.models.MODELS`.
    """
    names = sorted({path.name.partition(".")[0] for path in FOLDER.glob("*.yaml")})
    files = {name: (FOLDER / f"{name}.yaml", FOLDER / f"{name}.{model}.yaml") for name in names}
    found = {name: [path for path in paths if path.is_file()] for name, paths in files.items()}
    return {name: paths for name, paths in found.items() if paths}


def find_recipe(name: str, model: str, recipes: Recipes) -> Sequence[Path]:
    """Return the files of a recipe by its name, as the user typed it.

    Raises
    ------
    UserError
        If the model has none of this name; suggests the nearest and lists all.
    """
    if name not in recipes:
        known = ", ".join(recipes)
        raise UserError(
            f"no recipe named {name!r} for {model}{did_you_mean(name, recipes)}; there are {known}"
        )
    return recipes[name]
