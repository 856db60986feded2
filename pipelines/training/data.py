"""Cases as padded batches.

Shape suffixes: B cases, N nodes of the largest, C input channels, T targets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pipelines.runs.mesh_view import levels_folder, mesh_arguments
from pipelines.training.batching import BatchPlan, Draw, TrainingBatches, validation_batches
from pipelines.training.compilation import bucket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.checkpoint import Description
    from pipelines.runs.mesh_view import CaseMesh
    from pipelines.steps.carry import Carry
    from pipelines.training.variation import Variation


class Sample(NamedTuple):
    """One case.

    Parameters
    ----------
    case_id : str
        Which case.
    inputs : Tensor, (N, C) float32
        Features of its nodes, see `Description.inputs`.
    targets : Tensor, (N, T) float32
        Standardised targets.
    mesh : CaseMesh or None
        What the model sees of the mesh.
    earlier : Earlier or None
        The step before, where the model is to start from its own prediction of that.
    """

    case_id: str
    inputs: Tensor
    targets: Tensor
    mesh: CaseMesh | None
    earlier: Earlier | None = None


class Earlier(NamedTuple):
    """The step before that of a sample.

    Parameters
    ----------
    sample : Sample
        Of that step.
    onto : Carry
        From its nodes to those of the step after it.
    """

    sample: Sample
    onto: Carry


class Batch(NamedTuple):
    """Cases padded with zeros to the size of the largest.

    Parameters
    ----------
    case_ids : tuple of str
        Which cases.
    inputs : Tensor, (B, N, C) float32
        Features of nodes, see `Description.inputs`.
    targets : Tensor, (B, N, T) float32
        Standardised targets.
    mask : Tensor, (B, N) bool, or None
        True on real nodes; None if all are.
    mesh : dict
        What the model takes besides, see `pipelines.runs.mesh_view.mesh_arguments`.
    earlier : EarlierBatch or None
        The steps before.
    """

    case_ids: tuple[str, ...]
    inputs: Tensor
    targets: Tensor
    mask: Tensor | None
    mesh: dict[str, Any]
    earlier: EarlierBatch | None = None


class EarlierBatch(NamedTuple):
    """The steps before those of a batch.

    Parameters
    ----------
    batch : Batch
        Of these steps, of M nodes each.
    nodes : Tensor, (B, N, 8) int64
        As of `Carry`, from M to N.
    weights : Tensor, (B, N, 8) float32
        Likewise; zero on padding.
    """

    batch: Batch
    nodes: Tensor
    weights: Tensor


class SizedSamples(TorchDataset[Sample], ABC):
    """Samples whose sizes are known before they are read, by position or by `Draw`."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the samples."""

    @property
    @abstractmethod
    def node_counts(self) -> NDArray[np.int64]:
        """Nodes of each sample, (samples,) int64."""


class Samples(SizedSamples):
    """Cases of a view of a store, read one at a time: by position as they are, by `Draw` varied.

    It may be sent to other processes, each of which opens the store for itself.

    Parameters
    ----------
    cases : lpbf_dataset.Dataset
        Usually one split.
    description : Description
        What the model takes.
    variation : Variation, optional
        What differs between epochs.
    """

    def __init__(self, cases: Dataset, description: Description, variation: Variation | None = None) -> None:
        self._cases = cases
        self._variation = variation
        self._description = description
        self._variables = description.variables
        self._mesh_view = description.mesh_view
        self._levels_folder = levels_folder(cases)

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def node_counts(self) -> NDArray[np.int64]:
        """Nodes of each case when varied, (cases,) int64."""
        counts: NDArray[np.int64] = self._cases.case_table["node_count"].to_numpy()
        subsample = self._variation.subsample if self._variation else 0
        return np.minimum(counts, subsample) if subsample else counts

    def __getitem__(self, key: int | Draw) -> Sample:
        scaling = self._description.scaling
        case = self._cases.read(key.position if isinstance(key, Draw) else key, self._variables)
        # Coarser graphs are kept for the mesh as it is stored.
        mesh = self._mesh_view.of_case(case, self._levels_folder)
        if self._variation and isinstance(key, Draw):
            case = self._variation.of(case, key)
            mesh = mesh and mesh._replace(points=case.points)
        return Sample(
            case.case_id,
            torch.from_numpy(self._description.inputs(case)),
            torch.from_numpy(scaling.encode(scaling.truth(case))),
            mesh,
        )


def collate(samples: Sequence[Sample], *, in_buckets: bool = False) -> Batch:
    """Pad cases into a batch.

    Parameters
    ----------
    samples : sequence of Sample
        At least one.
    in_buckets : bool
        Pad to a size of `pipelines.training.compilation.bucket` rather than to the largest case, with a mask
        even if there is nothing to pad.
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
        _collate_earlier(
            [sample.earlier for sample in samples if sample.earlier], nodes, in_buckets=in_buckets
        ),
    )


def _collate_earlier(earlier: list[Earlier], nodes: int, *, in_buckets: bool) -> EarlierBatch | None:
    if not earlier:
        return None
    return EarlierBatch(
        collate([one.sample for one in earlier], in_buckets=in_buckets),
        _pad([torch.from_numpy(one.onto.nodes).long() for one in earlier], nodes),
        _pad([torch.from_numpy(one.onto.weights) for one in earlier], nodes),
    )


def _pad(features: list[Tensor], nodes: int) -> Tensor:
    padded = pad_sequence(features, batch_first=True)
    return pad(padded, (0, 0, 0, nodes - padded.shape[1]))


def batch_plan(
    counts: NDArray[np.int64], *, batch_size: int, node_budget: int, ranks: int, in_buckets: bool
) -> BatchPlan:
    """Plan the batches of an epoch: by a budget of nodes if there is one, or else of so many cases."""
    if node_budget:
        return BatchPlan.of_nodes(_padded_alone(counts, in_buckets), node_budget, ranks)
    return BatchPlan.of_cases(counts, batch_size, ranks)


class Loader(DataLoader[Sample]):
    """Reads nothing before the first batch is asked for: the trainer tells the epoch after it has begun."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()


def training_loader(
    samples: SizedSamples,
    *,
    batch_size: int,
    seed: int,
    num_workers: int,
    rank: int,
    ranks: int,
    node_budget: int = 0,
    in_buckets: bool = False,
) -> Loader:
    """Batches in an order drawn from seed and epoch alone, each rank its own share.

    The trainer calls ``set_epoch`` of ``loader.batch_sampler.sampler``, a `TrainingBatches`, before each
    epoch, so that the order differs from epoch to epoch and does not depend on where training was resumed.
    """
    plan = batch_plan(
        samples.node_counts,
        batch_size=batch_size,
        node_budget=node_budget,
        ranks=ranks,
        in_buckets=in_buckets,
    )
    return _loader(samples, TrainingBatches(plan, seed, rank), num_workers, in_buckets)


def validation_loader(
    samples: SizedSamples,
    *,
    batch_size: int,
    num_workers: int,
    rank: int,
    ranks: int,
    node_budget: int = 0,
    in_buckets: bool = False,
) -> Loader:
    """Batches in the same order every time, every case on exactly one rank."""
    counts = _padded_alone(samples.node_counts, in_buckets)
    return _loader(
        samples, validation_batches(counts, batch_size, node_budget, rank, ranks), num_workers, in_buckets
    )


def _padded_alone(counts: NDArray[np.int64], in_buckets: bool) -> NDArray[np.int64]:
    """Rows that each case has in a batch of its own."""
    return np.array([bucket(int(count)) for count in counts]) if in_buckets else counts


def _loader(
    samples: SizedSamples,
    batches: Iterable[list[int]] | Iterable[list[Draw]],
    num_workers: int,
    in_buckets: bool,
) -> Loader:
    return Loader(
        samples,
        batch_sampler=batches,
        collate_fn=partial(collate, in_buckets=in_buckets),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        # CUDA does not survive a fork, nor does tensorstore.
        multiprocessing_context="spawn" if num_workers else None,
        pin_memory=torch.cuda.is_available(),
    )
