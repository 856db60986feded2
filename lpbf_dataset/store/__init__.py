"""The Zarr store: writing it atomically, reading it at random."""
