"""The published release of the LPBF dataset: one ``.npz`` per case in ``train/`` and ``test/``."""

from lpbf_dataset.sources.npz.source import NpzCase, NpzSource

__all__ = ["NpzCase", "NpzSource"]
