"""The Zarr store: writing it atomically, reading it at random."""

from lpbf_dataset.store.layout import StoreError

__all__ = ["StoreError"]
