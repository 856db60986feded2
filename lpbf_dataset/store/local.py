"""Opening arrays of a local store with tensorstore, in processes where that is possible.

tensorstore runs threads of its own, which do not survive ``fork``: a child of a process that has
used it is aborted at the first call.  So the process that used it is remembered, and its forked
children (PyTorch's data loaders fork by default on Linux) are told to do without.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import tensorstore

# Decoded chunks stay cached up to this many bytes per process; above all it keeps shard indices.
CACHE_BYTES = 16 * 2**20

_user: int | None = None


def tensorstore_usable() -> bool:
    """Tell whether this process may use tensorstore: no ancestor forked after using it."""
    return _user is None or _user == os.getpid()


def open_array(
    folder: Path, *, write: bool = False, context: tensorstore.Context | None = None
) -> tensorstore.Future[tensorstore.TensorStore]:
    """Open an existing Zarr array with tensorstore.

    Parameters
    ----------
    folder : Path
        Absolute folder of the array.
    write : bool
        Open for writing rather than for reading.
    context : tensorstore.Context, optional
        Cache and threads to share between arrays; see `shared_context`.

    Returns
    -------
    tensorstore.Future
        Of the open array.  Its ``result`` raises ValueError if there is no such array; reading a
        chunk that is missing from the folder also does.

    Raises
    ------
    RuntimeError
        If tensorstore is not usable in this process.
    """
    global _user
    import tensorstore as ts

    if not tensorstore_usable():
        raise RuntimeError(
            "tensorstore was in use when this process was forked; start it by 'spawn' or 'forkserver' instead"
        )
    _user = os.getpid()
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        # A whole store never changes, so nothing need be looked up again after opening.
        "recheck_cached_data": "open",
        "fill_missing_data_reads": False,
        # A chunk of booleans may hold nothing but the fill value; unwritten, it would count as missing.
        "store_data_equal_to_fill_value": True,
    }
    return ts.open(spec, open=True, read=not write, write=write, context=context)


def shared_context() -> tensorstore.Context:
    """Return a context with a cache of `CACHE_BYTES`."""
    import tensorstore as ts

    return ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})


def reason(error: ValueError) -> str:
    """Return what tensorstore has to say, without the specification that it appends."""
    return str(error).partition(" [")[0]
