"""What the toolkit knows of a kind of model besides the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

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
        SPDX identifier and place of the code published with the paper; what is here was written anew.
    takes : {"nodes", "edges", "levels"}
        Which of `baselines.convention` it follows: `FieldModel`, `GraphModel` or `MultiscaleModel`.
    """

    name: str
    config_type: type[ConfigT]
    build: Callable[[ConfigT], nn.Module]
    published_parameters: int | None
    citation: str
    licence: str
    takes: Literal["nodes", "edges", "levels"] = "nodes"
