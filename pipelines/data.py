"""Cases as padded batches.

Shape suffixes: B cases, N nodes of the largest, C input channels, T targets.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, DistributedSampler, Subset
from torch.utils.data import Dataset as TorchDataset

from pipelines.compilation import bucket
from pipelines.mesh_view import levels_folder, mesh_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lpbf_dataset.store.reader import Dataset
    from pipelines.checkpoint import Description
    from pipelines.mesh_view import CaseMesh


class Sample(NamedTuple):
    """One case.

    Parameters
    ----------
    case_id : str
        Which case.
    inputs : Tensor, (N, C) float32
        Features of its nodes: scaled positions.
    targets : Tensor, (N, T) float32
        Standardised targets.
    mesh : CaseMesh or None
        What the model sees of the mesh.
    """

    case_id: str
    inputs: Tensor
    targets: Tensor
    mesh: CaseMesh | None


class Batch(NamedTuple):
    """Cases padded with zeros to the size of the largest.

    Parameters
    ----------
    case_ids : tuple of str
        Which cases.
    inputs : Tensor, (B, N, C) float32
        Features of nodes: scaled positions.
    targets : Tensor, (B, N, T) float32
        Standardised targets.
    mask : Tensor, (B, N) bool, or None
        True on real nodes; None if all are.
    mesh : dict
        What the model takes besides, see `pipelines.mesh_view.mesh_arguments`.
    """

    case_ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    mask: Tensor | None
    mesh: dict[str, Any]


class Samples(TorchDataset[Sample]):
    """Cases of a view of a store, read one at a time.

    Parameters
    ----------
    cases : lpbf_dataset.Dataset
        Usually one split.
    description : Description
        What the model takes.
    """

    def __init__(self, cases: Dataset, description: Description) -> None:
        self._cases = cases
        self._description = description
        self._variables = description.variables
        self._mesh_view = description.mesh_view
        self._levels_folder = levels_folder(cases)

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> Sample:
        scaling = self._description.scaling
        case = self._cases.read(index, self._variables)
        return Sample(
            case.case_id,
            torch.from_numpy(self._description.inputs(case)),
            torch.from_numpy(scaling.encode(scaling.truth(case))),
            self._mesh_view.of_case(case, self._levels_folder),
        )


def collate(samples: Sequence[Sample], *, in_buckets: bool = False) -> Batch:
    """Pad cases into a batch.

    Parameters
    ----------
    samples : sequence of Sample
        At least one.
    in_buckets : bool
        Pad to a size of `pipelines.compilation.bucket` rather than to the largest case, with a mask even
        if there is nothing to pad.
    """
    counts = torch.tensor([len(sample.inputs) for sample in samples])
    largest = int(counts.max())
    nodes = bucket(largest) if in_buckets else largest
    needs_mask = in_buckets or bool((counts < nodes).any())
    mask_BN = torch.arange(nodes) < counts[:, None] if needs_mask else None
    return Batch(
        tuple(sample.case_id for sample in samples),
        _pad([sample.inputs for sample in samples], nodes),
        _pad([sample.targets for sample in samples], nodes),
        mask_BN,
        mesh_arguments([sample.mesh for sample in samples], nodes),
    )


def _pad(features: list[Tensor], nodes: int) -> Tensor:
    padded = pad_sequence(features, batch_first=True)
    return pad(padded, (0, 0, 0, nodes - padded.shape[1]))


def training_loader(
    samples: Samples,
    *,
    batch_size: int,
    seed: int,
    num_workers: int,
    rank: int,
    ranks: int,
    in_buckets: bool = False,
) -> DataLoader[Sample]:
    """Batches in an order drawn from seed and epoch alone, each rank its own share.

    The trainer calls the sampler's ``set_epoch`` at the start of each epoch, so that the order
    differs from epoch to epoch and does not depend on where training was resumed.
    """
    sampler: DistributedSampler[Sample] = DistributedSampler(samples, ranks, rank, shuffle=True, seed=seed)
    return _loader(samples, batch_size, num_workers, in_buckets, sampler)


def validation_loader(
    samples: Samples, *, batch_size: int, num_workers: int, rank: int, ranks: int, in_buckets: bool = False
) -> DataLoader[Sample]:
    """Batches in order, every case on exactly one rank."""
    share = Subset(samples, range(rank, len(samples), ranks))
    return _loader(share, batch_size, num_workers, in_buckets)


def _loader(
    samples: TorchDataset[Sample],
    batch_size: int,
    num_workers: int,
    in_buckets: bool,
    sampler: DistributedSampler[Sample] | None = None,
) -> DataLoader[Sample]:
    return DataLoader(
        samples,
        batch_size,
        sampler=sampler,
        collate_fn=partial(collate, in_buckets=in_buckets),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        # CUDA does not survive a fork.
        multiprocessing_context="spawn" if num_workers else None,
        pin_memory=torch.cuda.is_available(),
    )
