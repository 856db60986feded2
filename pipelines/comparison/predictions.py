"""Predictions that were made elsewhere, to be scored like those of a run.

For every case that is scored there is one array per target, by the id of the case in the store:

===================  ===========================================================================
kind                 where the array of a target of a case lies
===================  ===========================================================================
Zarr group           ``<case id>/<target>``; Zarr format 3
folder of NPZ files  array ``<target>`` of ``<case id>.npz``
one NPZ file         array ``<case id>/<target>``, as ``numpy.savez(path, **{"a/displacement_z": ...})``
===================  ===========================================================================

A target is a scalar field or component by its name in `lpbf_dataset.schema.VARIABLES`,
``displacement_z`` or ``von_mises_stress``, of shape (nodes,); or a whole vector or tensor field,
``displacement`` of shape (nodes, 3), which stands for its components.  Beside each target there may be its
standard deviation, ``<target>_std`` of the same shape.  Values are numbers in the units of the store, nodes
in its order.  Nothing in these files is executed, and no array is allocated before its size is known to be
that of the case.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import zarr

from lpbf_dataset.schema import (
    FEATURE_VARIABLES,
    MESH_VARIABLES,
    VARIABLES,
    component_names,
    resolve_scalar,
)
from lpbf_dataset.sources.archive import MAX_FILE_BYTES, open_archive
from lpbf_dataset.sources.base import CaseError
from lpbf_dataset.sources.npz.npy import read_array
from lpbf_dataset.store.filesystem import connect, reporting
from pipelines.comparison.bounded_chunks import ChunkError, read_bounded
from pipelines.console import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lpbf_dataset import Case
    from lpbf_dataset.sources.archive import Archive


STD_SUFFIX = "_std"


class PredictionsError(UserError):
    """Predictions cannot be scored."""


class Container(Protocol):
    """Arrays by case and name."""

    def names(self, case_id: str) -> list[str]:
        """Names of the arrays of a case in order; none if it has none.  Raises `PredictionsError`."""

    def read(self, case_id: str, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Read an array of this shape.  Raises `PredictionsError`."""


class Predictions:
    """Predictions in a file or folder.

    Parameters
    ----------
    path : str
        Zarr group, folder of NPZ files, or NPZ file, as the module describes.
    cases : sequence of str
        Ids of the cases that are to be scored; not empty.

    Raises
    ------
    PredictionsError
        If it is none of these, lacks a case, or has a field that is not known.
    """

    def __init__(self, path: str, cases: Sequence[str]) -> None:
        self._path = path
        self._container = _open(path)
        names = {case_id: self._container.names(case_id) for case_id in cases}
        if missing := [case_id for case_id, found in names.items() if not found]:
            raise PredictionsError(
                f"{path} has no prediction of {len(missing)} of {len(cases)} cases, first {missing[0]!r}; "
                "it must have one array per case id and target, see pipelines/comparison/predictions.py"
            )
        self._names = names[cases[0]]
        for case_id, found in names.items():
            if found != self._names:
                raise PredictionsError(
                    f"{path}: case {case_id!r} has {', '.join(found)}, but {cases[0]!r} has "
                    f"{', '.join(self._names)}; every case must have the same fields"
                )
        self._with_std = self._split_off_std()
        self.targets = tuple(target for name in self._names for target in self._components(name))
        if repeated := {target for target in self.targets if self.targets.count(target) > 1}:
            raise PredictionsError(f"{path} has {', '.join(sorted(repeated))} twice, alone and in a vector")

    def predict_with_uncertainty(self, case: Case) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Read the prediction of a case and its standard deviation.

        Returns
        -------
        prediction : (nodes, targets) float64 ndarray
        std : (nodes, targets) float64 ndarray or None
            None where there is none.

        Raises
        ------
        PredictionsError
            If an array is damaged, of another shape, or has values that are not finite, or a standard
            deviation is negative.
        """
        prediction = self._read(case, "")
        if not self._with_std:
            return prediction, None
        std = self._read(case, STD_SUFFIX)
        if (std < 0).any():
            raise PredictionsError(f"{self._path}: case {case.case_id!r} has a negative standard deviation")
        return prediction, std

    def _read(self, case: Case, suffix: str) -> NDArray[np.float64]:
        """Arrays of all targets of a case, (nodes, targets)."""
        columns = []
        for name in self._names:
            stored, shape = name + suffix, (case.node_count, *self._row_shape(name))
            values = self._container.read(case.case_id, stored, shape)
            if bad := int(np.count_nonzero(~np.isfinite(values))):
                raise PredictionsError(
                    f"{self._path}: {bad} of {values.size} values of {stored} of case {case.case_id!r} "
                    "are not finite"
                )
            columns.append(values.reshape(case.node_count, -1))
        return np.concatenate(columns, axis=1, dtype=np.float64)

    def _split_off_std(self) -> bool:
        """Leave the names of predictions alone; tell whether they have standard deviations."""
        of_std = {name.removesuffix(STD_SUFFIX) for name in self._names if name.endswith(STD_SUFFIX)}
        predicted = [name for name in self._names if not name.endswith(STD_SUFFIX)]
        if alone := sorted(of_std ^ set(predicted)) if of_std else []:
            name = alone[0]
            having, lacking = ("", STD_SUFFIX) if name in predicted else (STD_SUFFIX, "")
            raise PredictionsError(
                f"{self._path} has {name}{having} but no {name}{lacking}: standard deviations must be given "
                "for every field or for none"
            )
        self._names = predicted
        return bool(of_std)

    def _components(self, name: str) -> list[str]:
        """Targets that an array stands for."""
        try:
            variable, component = resolve_scalar(name)
        except KeyError as error:
            raise PredictionsError(f"{self._path}: {error.args[0]}") from None
        if variable in (*MESH_VARIABLES, *FEATURE_VARIABLES):
            raise PredictionsError(f"{self._path}: {name!r} is part of the geometry, not a field to predict")
        suffixes = () if component is not None else component_names(VARIABLES[variable])
        return [f"{name}_{suffix}" for suffix in suffixes] or [name]

    @staticmethod
    def _row_shape(name: str) -> tuple[int, ...]:
        variable, component = resolve_scalar(name)
        return VARIABLES[variable].row_shape if component is None else ()


class NpzContainer:
    """Arrays in NPZ files.

    Parameters
    ----------
    path : Path
        The file of all cases, or the folder with a file of each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Looked up rather than joined: the id of a case may be any text.
        files = sorted(path.glob("*.npz")) if path.is_dir() else []
        self._file_of = {file.stem: file for file in files}

    def names(self, case_id: str) -> list[str]:
        """Names of the arrays of a case in order; none if it has none.  Raises `PredictionsError`."""
        try:
            archive, folder = self._locate(case_id)
            files = archive.files(folder) if archive else ()
        except CaseError as error:
            raise PredictionsError(error.detail) from None
        return sorted(file.removesuffix(".npy") for file in files if file.endswith(".npy"))

    def read(self, case_id: str, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Read an array of this shape.  Raises `PredictionsError`."""
        try:
            archive, folder = self._locate(case_id)
            assert archive is not None
            member = f"{folder}/{name}.npy".lstrip("/")
            label = archive.label(member)
            contents = archive.read(member)
        except CaseError as error:
            raise PredictionsError(error.detail) from None
        try:
            values = read_array(contents, shape[1:])
        except CaseError as error:
            raise PredictionsError(f"{label}: {error.detail}") from None
        _check_shape(label, values.shape, shape)
        return values

    def _locate(self, case_id: str) -> tuple[Archive | None, str]:
        """Archive of a case, and the folder in it."""
        if self._path.is_file():
            return open_archive(self._path), case_id
        file = self._file_of.get(case_id)
        return (open_archive(file) if file else None), ""


class ZarrContainer:
    """Arrays in groups of a Zarr group.

    Parameters
    ----------
    location : Path or str
        Path of the group, or its fsspec URL.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location
        with reporting(f"cannot open {location}"):
            self._root = zarr.open_group(location, mode="r", zarr_format=3)
            self._groups = dict(self._root.groups())
            self._filesystem, self._folder = connect(str(location))

    def names(self, case_id: str) -> list[str]:
        """Names of the arrays of a case in order; none if it has none.  Raises `StoreError`."""
        with reporting(f"cannot read {self._location}"):
            group = self._groups.get(case_id)
            return sorted(group.array_keys()) if group is not None else []

    def read(self, case_id: str, name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """Read an array of this shape.  Raises `PredictionsError` or `StoreError`."""
        label = f"{self._location}/{case_id}/{name}"
        with reporting(f"cannot read {label}"):
            array = self._groups[case_id][name]
        assert isinstance(array, zarr.Array)
        if array.dtype.kind not in "biuf":
            raise PredictionsError(f"{label}: holds {array.dtype}, not numbers")
        _check_shape(label, array.shape, shape)
        try:
            return read_bounded(array, self._filesystem, f"{self._folder}/{case_id}/{name}", MAX_FILE_BYTES)
        except ChunkError as error:
            raise PredictionsError(f"{label}: {error}") from error


def _open(path: str) -> Container:
    location = Path(path)
    if "://" in path or (location / "zarr.json").is_file():
        return ZarrContainer(path)
    if not location.exists():
        raise PredictionsError(f"there is no {path}: expected a Zarr group, an NPZ file or a folder of them")
    if any((location / name).is_file() for name in (".zgroup", ".zattrs", ".zmetadata")):
        raise PredictionsError(f"{path} is of Zarr format 2; write it with zarr_format=3")
    if location.is_file() and location.suffix != ".npz":
        raise PredictionsError(
            f"{path} is no NPZ file: expected a Zarr group, an NPZ file or a folder of them"
        )
    return NpzContainer(location)


def _check_shape(label: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise PredictionsError(
            f"{label}: has shape {shape}, not {expected}: one row for each node of the case"
        )
