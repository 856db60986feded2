"""Terms of use of the designs that a store is made from, told by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lpbf_dataset.sources.base import FUSION_360_DESIGN, PROCEDURAL_DESIGN

if TYPE_CHECKING:
    from collections.abc import Iterable


class Terms(NamedTuple):
    """Terms of use.

    Parameters
    ----------
    licence : str
        What may be done with the data.
    citation : str
        What to cite.
    """

    licence: str
    citation: str


FUSION_360 = Terms(
    "Fusion 360 Gallery Dataset License (non-commercial research)",
    "Lambourne et al., BRepNet: A Topological Message Passing System for Solid Models, CVPR 2021 "
    "(Fusion 360 Gallery segmentation dataset)",
)
PROCEDURAL = Terms("MIT", "procedural parts of lpbf-toolkit")
UNKNOWN = Terms("not stated; give it with --licence", "not stated; give it with --citation")


def source_terms(designs: Iterable[str]) -> Terms:
    """Terms that apply to all of some designs.

    Parameters
    ----------
    designs : iterable of str
        Design ids.

    Returns
    -------
    Terms
        The strictest that are known to apply; `UNKNOWN` if any design has a name of no known origin.
    """
    found = {_terms_of(design) for design in designs}
    return next((terms for terms in (UNKNOWN, FUSION_360, PROCEDURAL) if terms in found), UNKNOWN)


def _terms_of(design: str) -> Terms:
    if FUSION_360_DESIGN.fullmatch(design):
        return FUSION_360
    return PROCEDURAL if PROCEDURAL_DESIGN.fullmatch(design) else UNKNOWN
