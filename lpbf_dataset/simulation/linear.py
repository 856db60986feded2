"""Direct solution of sparse symmetric positive definite systems, with static condensation.

MKL PARDISO where its runtime is installed (``pip install pypardiso``), SuperLU of SciPy otherwise.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from lpbf_dataset.sources.base import CaseError, FailureReason

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Factor(Protocol):
    """A factorised matrix."""

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for one, (n,), or several, (n, k), right-hand sides."""


def factorise(matrix: sparse.csr_array) -> Factor:
    """Factorise a symmetric positive definite matrix.

    Parameters
    ----------
    matrix : (n, n) sparse array
        Upper triangle, diagonal included.

    Raises
    ------
    ValueError
        If the matrix is not positive definite, or memory does not suffice.
    """
    return _SuperLU(matrix) if _mkl_pardiso() is None else _Pardiso(matrix)


class Condensed:
    """A symmetric positive definite matrix condensed onto some of its unknowns.

    Only with PARDISO: see `condenses`.

    Parameters
    ----------
    matrix : (n, n) sparse array
        Upper triangle, diagonal included.
    kept : (m,) int64 ndarray
        The unknowns kept, ascending; the others are eliminated.
    """

    def __init__(self, matrix: sparse.csr_array, kept: NDArray[np.int64]) -> None:
        self.kept = kept
        self._factor = _Pardiso(matrix, kept)
        self._schur = self._factor.schur

    @property
    def schur(self) -> NDArray[np.float64]:
        """The condensed matrix, (m, m) float64.  Raises ValueError once released."""
        if self._schur is None:
            raise ValueError("the condensed matrix has been released")
        return self._schur

    def release_schur(self) -> None:
        """Free the condensed matrix; elimination and substitution go on without it."""
        self._schur = self._factor.schur = None

    def eliminate(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """Forward half of a solution, (n, k); the kept rows hold the condensed load."""
        return self._factor.run(_FORWARD, load)

    def substitute(self, eliminated: NDArray[np.float64], kept: NDArray[np.float64]) -> NDArray[np.float64]:
        """Backward half: the solution, (n, k), from that at the kept unknowns, (m, k)."""
        eliminated[self.kept] = kept
        return self._factor.run(_BACKWARD, eliminated)

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """Solve for several right-hand sides, (n, k)."""
        half = self.eliminate(load)
        return self.substitute(half, _solve_dense(self.schur, half[self.kept]))


def condenses() -> bool:
    """Whether the solver at hand can condense."""
    return _mkl_pardiso() is not None


class _SuperLU:
    def __init__(self, matrix: sparse.csr_array) -> None:
        full = (matrix + sparse.triu(matrix, 1).T).tocsc()
        try:
            self._factor = linalg.splu(
                full, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
            )
        except RuntimeError as error:
            raise CaseError(
                FailureReason.SOLVER_FAILED, f"the linear system cannot be solved: {error}"
            ) from error

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._factor.solve(load)


@functools.cache
def _mkl_pardiso() -> ctypes._NamedFuncPointer | None:
    """PARDISO of the MKL runtime, None without one."""
    return None if (mkl := _mkl()) is None else mkl.pardiso


@functools.cache
def _mkl() -> ctypes.CDLL | None:
    """Load the MKL runtime beside this Python, as the `pypardiso` and `mkl` packages install it."""
    places = [
        Path(sys.prefix, "lib").glob("libmkl_rt.*"),
        Path(sys.prefix, "Library", "bin").glob("mkl_rt*.dll"),
    ]
    for library in sorted(path for place in places for path in place):
        try:
            return ctypes.CDLL(str(library))
        except OSError:
            continue
    return None


def _solve_dense(matrix: NDArray[np.float64], load: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve a dense positive definite system with MKL's LAPACK.

    Not with SciPy's: its threads would wait for the cores on which those of PARDISO still spin.
    """
    mkl = _mkl()
    if mkl is None:
        raise RuntimeError("MKL is not installed")
    factor, answer = matrix.copy(), np.array(load, order="F")
    integer = ctypes.c_int32
    failed = mkl.LAPACKE_dposv(
        integer(_COLUMN_MAJOR),
        ctypes.c_char(b"U"),
        integer(len(matrix)),
        integer(answer.shape[1]),
        factor.ctypes.data_as(ctypes.c_void_p),
        integer(len(matrix)),
        answer.ctypes.data_as(ctypes.c_void_p),
        integer(len(matrix)),
    )
    if failed:
        raise CaseError(
            FailureReason.SOLVER_FAILED,
            "the linear system cannot be solved: the condensed matrix is not positive definite",
        )
    return answer


_SYMMETRIC_POSITIVE_DEFINITE = 2
_COLUMN_MAJOR = 102
_ANALYSE_AND_FACTORISE, _SOLVE, _FORWARD, _BACKWARD, _RELEASE = 12, 33, 331, 333, -1
_ERRORS = {-2: "not enough memory", -4: "the matrix is not positive definite"}


class _Pardiso:
    """One factorisation held by MKL PARDISO (oneMKL Developer Reference, `pardiso`)."""

    def __init__(self, matrix: sparse.csr_array, kept: NDArray[np.int64] | None = None) -> None:
        if not matrix.has_sorted_indices:
            matrix.sort_indices()
        self._size = matrix.shape[0]
        self._handle = np.zeros(64, dtype=np.int64)
        self._control = np.zeros(64, dtype=np.int32)
        self._control[0] = 1  # the values below, not the defaults
        self._control[1] = 2  # nested dissection
        self._control[34] = 1  # zero-based indices
        self._matrix = (
            matrix.data,
            matrix.indptr.astype(np.int32, copy=False),
            matrix.indices.astype(np.int32, copy=False),
        )
        self._kept = np.zeros(self._size, dtype=np.int32)
        self.schur: NDArray[np.float64] | None = None
        nothing = np.empty(0)
        if kept is not None:
            self._control[35] = 1  # stop at the Schur complement and return it
            self._kept[kept] = 1
            self.schur = np.zeros((len(kept), len(kept)))
        weakref.finalize(self, _release, self._handle, self._control, self._size)
        self._call(_ANALYSE_AND_FACTORISE, nothing, nothing if self.schur is None else self.schur, 1)
        # From here on only the factors are read, which PARDISO holds.
        self._matrix = (nothing, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.run(_SOLVE, load)

    def run(self, phase: int, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """Run one phase of the solution on right-hand sides (n,) or (n, k)."""
        load = np.asfortranarray(load)
        answer = np.zeros_like(load, order="F")
        self._call(phase, load, answer, 1 if load.ndim == 1 else load.shape[1])
        return answer

    def _call(self, phase: int, load: NDArray[np.float64], answer: NDArray[np.float64], loads: int) -> None:
        error = _pardiso(
            self._handle,
            self._control,
            phase,
            self._size,
            (*self._matrix, self._kept),
            loads,
            load,
            answer,
        )
        if error:
            raise CaseError(
                FailureReason.SOLVER_FAILED,
                f"the linear system cannot be solved: {_ERRORS.get(error, f'PARDISO error {error}')}",
            )


def _pardiso(handle, control, phase, size, matrix, loads, load, answer) -> int:  # type: ignore[no-untyped-def]
    function = _mkl_pardiso()
    if function is None:
        raise RuntimeError("MKL PARDISO is not installed")

    def pointer(array):  # type: ignore[no-untyped-def]
        return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))

    def integer(value: int):  # type: ignore[no-untyped-def]
        return ctypes.byref(ctypes.c_int32(value))

    values, rows, columns, kept = matrix
    error = ctypes.c_int32(0)
    function(
        handle.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)),
        integer(1),
        integer(1),
        integer(_SYMMETRIC_POSITIVE_DEFINITE),
        integer(phase),
        integer(size),
        values.ctypes.data_as(ctypes.c_void_p),
        pointer(rows),
        pointer(columns),
        pointer(kept),
        integer(loads),
        pointer(control),
        integer(0),
        load.ctypes.data_as(ctypes.c_void_p),
        answer.ctypes.data_as(ctypes.c_void_p),
        ctypes.byref(error),
    )
    return error.value


def _release(handle: NDArray[np.int64], control: NDArray[np.int32], size: int) -> None:
    nothing, none = np.empty(0), np.empty(0, dtype=np.int32)
    _pardiso(handle, control, _RELEASE, size, (nothing, none, none, none), 1, nothing, nothing)
