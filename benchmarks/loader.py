"""Cases per second through a data loader with workers, beside the loader of the published release.

Writes a store of synthetic cases, and the same cases as NPZ files of the published layout.  All loaders take
one graph a batch, for several warm epochs that take turns; medians are shown.  They are

- published: every array of a file as a tensor, as the code on the dataset card of the release does it
  (huggingface.co/datasets/vedantpuri/LPBF_FLARE), through the data loader of PyTorch Geometric;
- graphs: `lpbf_dataset.torch.MeshDataset`, which adds the edge features that the published one lacks, through
  the same data loader;
- graphs, collate: the same batches through PyTorch's with undirected edges and `lpbf_dataset.torch.collate`;
- points, collate: without edges, all that models of point clouds take;
- graphs, points without workers: in the main process.

    python benchmarks/loader.py --cases 64 --nodes 20000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from synthetic import FIELDS, SyntheticSource, machine
from torch.utils.data import DataLoader as TorchLoader
from torch_geometric.data import Data, Dataset
from torch_geometric.loader import DataLoader

from lpbf_dataset import open_dataset
from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.export import export_npz
from lpbf_dataset.schema import MESH_VARIABLES
from lpbf_dataset.torch import MeshDataset, collate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import lpbf_dataset


class PublishedDataset(Dataset):
    """Graphs of NPZ files, read as the published code reads them.

    Parameters
    ----------
    paths : sequence of Path
        The files, which this benchmark wrote: unpickling their metadata is safe.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._paths = paths

    def len(self) -> int:
        """Return the number of files."""
        return len(self._paths)

    def get(self, index: int) -> Data:
        """Read every array; floats become float32, integers int64."""
        graph = Data()
        with np.load(self._paths[index], allow_pickle=True) as arrays:
            for name, values in arrays.items():
                if name == "_metadata":
                    graph.metadata = json.loads(values[0])["metadata"]
                else:
                    kind = np.float32 if values.dtype.kind == "f" else np.int64
                    graph[name] = torch.from_numpy(values.astype(kind))
        graph.x = graph.pos
        graph.y = graph.disp[:, 2]
        return graph


def write(folder: Path, cases: int, nodes: int) -> tuple[Path, list[Path]]:
    """Write a store, and NPZ files of the same cases."""
    store = folder / "store.zarr"
    build_store([SyntheticSource(cases, nodes)], store, BuildOptions(rules="none"))
    dataset = open_dataset(store)
    published = (*MESH_VARIABLES, *FIELDS)
    return store, export_npz((dataset.read(name, published) for name in dataset.case_ids), folder)


def make_loaders(cases: lpbf_dataset.Dataset, paths: Sequence[Path], workers: int) -> dict[str, TorchLoader]:
    """Return the loaders to compare, by name."""
    graphs = MeshDataset(cases)
    undirected, points = MeshDataset(cases, edges="undirected"), MeshDataset(cases, edges="none")
    there: dict[str, Any] = {"shuffle": True, "num_workers": workers}
    if workers:
        there |= {"multiprocessing_context": "spawn", "persistent_workers": True}
    return {
        "published": DataLoader(PublishedDataset(paths), **there),
        "graphs": DataLoader(graphs, **there),
        "graphs, collate": TorchLoader(undirected, collate_fn=collate, **there),
        "points, collate": TorchLoader(points, collate_fn=collate, **there),
        "graphs without workers": TorchLoader(undirected, collate_fn=collate, shuffle=True),
        "points without workers": TorchLoader(points, collate_fn=collate, shuffle=True),
    }


def epoch_seconds(loader: TorchLoader) -> float:
    """Return the time of one epoch that does nothing with its batches."""
    start = perf_counter()
    for _ in loader:
        pass
    return perf_counter() - start


def measure(cases: int, nodes: int, workers: int, epochs: int) -> pd.DataFrame:
    """Return cases per second of each reader, and how many times those of the published one."""
    with tempfile.TemporaryDirectory() as folder:
        store, paths = write(Path(folder), cases, nodes)
        loaders = make_loaders(open_dataset(store), paths, workers)
        # The first epoch starts the workers.
        rounds = [
            {name: epoch_seconds(loader) for name, loader in loaders.items()} for _ in range(1 + epochs)
        ]
    seconds = pd.DataFrame(rounds[1:])
    rate = cases / seconds.median()
    ratio = (seconds.rdiv(seconds["published"], axis=0)).median()
    return pd.DataFrame({"cases/s": rate, "times published": ratio})


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, load in turn, print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=20_000, help="of a case, on average")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=7)
    options = parser.parse_args(arguments)
    print(machine())
    table = measure(options.cases, options.nodes, options.workers, options.epochs)
    print(table.to_string(float_format="{:.1f}".format))


if __name__ == "__main__":
    main()
