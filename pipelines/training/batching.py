"""Which cases make up which batch, on which rank, in which epoch.

How many cases each batch holds is decided once, so an epoch has equally many steps whatever its number,
and every rank as many as any other.  Which cases these are is drawn anew in every epoch, from the seed
and the number of the epoch alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Step = list["NDArray[np.int64]"]
"""Positions of the cases of the batch of each rank."""

JITTER = 0.2
"""Cases are sorted by their size times a factor drawn from exp(-0.2) to exp(0.2), so that neighbours
differ between epochs while the padding in a batch stays small."""


class Draw(NamedTuple):
    """A training case in an epoch, on which its variation depends.

    Parameters
    ----------
    position : int
        Of the case in its view of the store.
    epoch : int
        Counted from 0.
    """

    position: int
    epoch: int


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """How many cases each batch of an epoch holds, and how they are drawn.

    Parameters
    ----------
    node_counts : (n,) int64 ndarray
        Nodes of each case.
    case_counts : (steps, ranks) int64 ndarray
        Cases of each batch, 0 for one that repeats a case of its step: where there are too few cases to
        give every rank one.
    node_budget : int
        Most nodes in a batch, padding included; a larger case is a batch of its own.  0 for no limit.
    """

    node_counts: NDArray[np.int64]
    case_counts: NDArray[np.int64]
    node_budget: int = 0

    @classmethod
    def of_cases(cls, node_counts: NDArray[np.int64], batch_size: int, ranks: int) -> Self:
        """Put as many cases into every batch.

        What remains for the last step is shared out evenly.  A step on several ranks has the cases of
        the one that a single rank takes with batches of all of them together.
        """
        steps, rest = divmod(len(node_counts), batch_size * ranks)
        counts = np.full((steps, ranks), batch_size)
        if rest:
            counts = np.vstack([counts, [len(part) for part in np.array_split(np.arange(rest), ranks)]])
        return cls(node_counts, counts)

    @classmethod
    def of_nodes(cls, node_counts: NDArray[np.int64], node_budget: int, ranks: int) -> Self:
        """Fill every batch up to a number of nodes, padding included."""
        largest_first = np.sort(node_counts)[::-1]
        counts, start = [], 0
        while start < len(largest_first):
            fitting = max(1, node_budget // int(largest_first[start]))
            counts.append(min(fitting, len(largest_first) - start))
            start += fitting
        while len(counts) % ranks and max(counts) > 1:
            most = counts.pop(int(np.argmax(counts)))
            counts += [most // 2, most - most // 2]
        counts += [0] * (-len(counts) % ranks)
        # Batches of a step stand side by side, so its ranks have cases of about one size.
        return cls(node_counts, np.sort(counts)[::-1].reshape(-1, ranks), node_budget)

    def __len__(self) -> int:
        """Count the steps of an epoch."""
        return len(self.case_counts)

    def epoch(self, seed: int, epoch: int) -> list[Step]:
        """Draw the batches of an epoch.

        Returns
        -------
        list of Step
            Every case stands in one batch, but for those that are repeated, see `case_counts`.
        """
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
        order = self._order_by_size(generator) if self.node_budget else generator.permutation(self._cases)
        batches = np.split(order, np.cumsum(self.case_counts.ravel())[:-1])
        ranks = self.case_counts.shape[1]
        steps = [_without_gaps(batches[first : first + ranks]) for first in range(0, len(batches), ranks)]
        if not self.node_budget:
            return steps
        return [steps[number] for number in generator.permutation(len(steps))]

    @property
    def _cases(self) -> int:
        return len(self.node_counts)

    def _order_by_size(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Fill the batches in turn, each with the apparently smallest of the cases that may be in it.

        The batches hold fewer and fewer cases, so what fits in one fits in every later one: whichever of
        the fitting cases a batch takes, enough remain for those after it, as the count of cases that fit
        in each was made with the largest first.
        """
        apparent = np.log(self.node_counts) + generator.uniform(-JITTER, JITTER, self._cases)
        by_size = np.argsort(self.node_counts, kind="stable")
        waiting: list[tuple[float, int]] = []
        order: list[int] = []
        entered = 0
        for count in self.case_counts.ravel():
            limit = np.inf if count <= 1 else self.node_budget / count
            while entered < self._cases and self.node_counts[by_size[entered]] <= limit:
                case = int(by_size[entered])
                heappush(waiting, (float(apparent[case]), case))
                entered += 1
            order += [heappop(waiting)[1] for _ in range(count)]
        return np.array(order, dtype=np.int64)


def _without_gaps(step: Step) -> Step:
    """Give the ranks that have no case one of the others' cases, each in turn.

    The mean over the ranks stays that over the cases wherever these divide the ranks.
    """
    cases = np.concatenate(step)
    repeated = iter(np.resize(cases, len(step))[:, None])
    return [batch if len(batch) else next(repeated) for batch in step]


class TrainingBatches(Sampler[list[Draw]]):
    """The batches of one rank, for the ``batch_sampler`` of a `torch.utils.data.DataLoader`.

    Parameters
    ----------
    plan : BatchPlan
        The batches of all ranks.
    seed : int
        What they are drawn from, with the epoch.
    rank : int
        Whose batches to yield.
    """

    def __init__(self, plan: BatchPlan, seed: int, rank: int) -> None:
        self.plan = plan
        self._seed = seed
        self._rank = rank
        self._epoch = 0
        self._start = 0
        self._start_epoch: int | None = None

    @property
    def sampler(self) -> Self:
        """Itself: of a batch sampler, the trainer tells the epoch to what is called so."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Yield the batches of this epoch, counted from 0, from the next iteration on."""
        self._epoch = epoch

    def start_at(self, batch: int) -> None:
        """Leave out the batches before this one in the epoch that is iterated over next, not in later ones.

        What is left out is not read.  The length stays that of a whole epoch.
        """
        self._start, self._start_epoch = batch, None

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[list[Draw]]:
        # An epoch may be iterated over more than once: the trainer does when it resumes.
        if self._start_epoch is None:
            self._start_epoch = self._epoch
        epoch = self._epoch
        start = self._start if epoch == self._start_epoch else 0
        for step in self.plan.epoch(self._seed, epoch)[start:]:
            yield [Draw(int(position), epoch) for position in step[self._rank]]


def validation_batches(
    node_counts: NDArray[np.int64], batch_size: int, node_budget: int, rank: int, ranks: int
) -> list[list[int]]:
    """Put the cases of one rank into batches, so that each case is on exactly one rank.

    Parameters
    ----------
    node_counts : (n,) int64 ndarray
        Nodes of each case.
    batch_size : int
        Cases of a batch, unless there is a budget.
    node_budget : int
        As in `BatchPlan`.
    rank, ranks : int
        Whose batches, and of how many.

    Returns
    -------
    list of list of int
        Positions of the cases, of about one size in a batch if there is a budget.
    """
    if not node_budget:
        share = list(range(rank, len(node_counts), ranks))
        return [share[first : first + batch_size] for first in range(0, len(share), batch_size)]
    share = np.argsort(-node_counts, kind="stable")[rank::ranks].tolist()
    batches = []
    while share:
        fitting = max(1, node_budget // int(node_counts[share[0]]))
        batches.append(share[:fitting])
        share = share[fitting:]
    return batches
