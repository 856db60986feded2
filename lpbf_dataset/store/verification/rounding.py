"""What a store says of how its histories are rounded, and whether they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zarr

from lpbf_dataset.schema import STORED_VARIABLES
from lpbf_dataset.store.rounding import QUANTIZATION_VARIABLE, kept_bits, quantization_attributes
from lpbf_dataset.store.verification.metadata import check_attributes
from lpbf_dataset.store.verification.problems import Code

if TYPE_CHECKING:
    from lpbf_dataset.store.verification.metadata import Arrays, Members
    from lpbf_dataset.store.verification.problems import Report


def check_rounding(arrays: Arrays, members: Members, report: Report) -> dict[str, int]:
    """Compare the attributes that tell of rounding with each other.

    Parameters
    ----------
    arrays : dict of str to zarr.Array
        Usable arrays of the store.
    members : dict of str to zarr.Array, zarr.Group or None
        Arrays and groups of the store.
    report : Report
        Takes the problems.

    Returns
    -------
    dict of str to int
        Bits to which a variable of the histories is rounded, by its name; none that is not.
    """
    declared: dict[str, int] = {}
    for name, variable in STORED_VARIABLES.items():
        if name not in arrays:
            continue
        attributes = arrays[name].attrs.asdict()
        try:
            bits = kept_bits(attributes)
        except ValueError as error:
            report.add(Code.BAD_METADATA, name, error)
            continue
        if bits and variable.dim != "step_node":
            report.add(Code.BAD_METADATA, name, "says that it is rounded, as only fields of a history may be")
        elif bits:
            check_attributes(name, attributes, quantization_attributes(bits), report)
            declared[name] = bits
    if declared:
        _check_quantization_variable(members, report)
    return declared


def _check_quantization_variable(members: Members, report: Report) -> None:
    member = members.get(QUANTIZATION_VARIABLE)
    if isinstance(member, zarr.Array):
        attributes = member.attrs.asdict()
        check_attributes(QUANTIZATION_VARIABLE, attributes, {"algorithm": "bitround"}, report)
        if "implementation" not in attributes:
            report.add(Code.MISSING_ATTRIBUTE, QUANTIZATION_VARIABLE, "has no attribute 'implementation'")
    elif QUANTIZATION_VARIABLE not in members:
        report.add(Code.MISSING_ARRAY, QUANTIZATION_VARIABLE, "a store with a rounded history has this array")
