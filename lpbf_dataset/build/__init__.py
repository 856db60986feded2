"""From raw simulations to a store, in steps of one module each.

`reading` reads and measures one case, `extraction` lays it ready; `stored` takes cases over from earlier
stores; `gather` does so for every case of the sources; `catalog` tells what became of each; `pipeline` puts
these together with selection, split and assembly; `documents` writes the report, the dataset card and the
metadata into the store.
"""

from lpbf_dataset.build.options import BuildError, BuildOptions
from lpbf_dataset.build.pipeline import BuildResult, build_store
from lpbf_dataset.build.reading import Extraction, read_case
from lpbf_dataset.build.stored import StoreSource

__all__ = [
    "BuildError",
    "BuildOptions",
    "BuildResult",
    "Extraction",
    "StoreSource",
    "build_store",
    "read_case",
]
