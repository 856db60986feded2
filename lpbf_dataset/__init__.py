"""Part-scale LPBF simulations as a curated, chunked Zarr dataset.

>>> import lpbf_dataset as lpbf
>>> ds = lpbf.open_dataset("lpbf.zarr")  # doctest: +SKIP
>>> ds.train[0].displacement.shape  # doctest: +SKIP
(20972, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.case import Case

if TYPE_CHECKING:
    from lpbf_dataset.store.layout import StoreError
    from lpbf_dataset.store.reader import Dataset, open_dataset

__version__ = "0.1.0"

__all__ = ["Case", "Dataset", "StoreError", "__version__", "open_dataset"]


def __getattr__(name: str) -> object:
    # The reader pulls in zarr; deferring it keeps `import lpbf_dataset` light.
    if name in {"Dataset", "open_dataset"}:
        from lpbf_dataset.store import reader

        return getattr(reader, name)
    if name == "StoreError":
        from lpbf_dataset.store.layout import StoreError

        return StoreError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
