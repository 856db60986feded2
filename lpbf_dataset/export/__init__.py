"""Cases and catalogs of a store, and simulations, in the formats of other programs.

>>> import lpbf_dataset as lpbf
>>> from lpbf_dataset.export import export_vtkhdf
>>> ds = lpbf.open_dataset("lpbf.zarr")  # doctest: +SKIP
>>> export_vtkhdf(ds.test, "for_paraview")  # doctest: +SKIP
"""

from lpbf_dataset.export.files import ExportError, check_case_id
from lpbf_dataset.export.npz import export_npz
from lpbf_dataset.export.parquet import export_catalog
from lpbf_dataset.export.series import export_pvd, export_vtkhdf_series
from lpbf_dataset.export.vtk import export_vtu
from lpbf_dataset.export.vtkhdf import export_vtkhdf

__all__ = [
    "ExportError",
    "check_case_id",
    "export_catalog",
    "export_npz",
    "export_pvd",
    "export_vtkhdf",
    "export_vtkhdf_series",
    "export_vtu",
]
