"""Training on cases too large for one device: the nodes of each are shared out over several.

Exact: the loss is the relative error over all nodes, and the gradient that of one device, see
`flare.sharding`.

Shape suffixes: B cases, N nodes of this rank, M of it or of all ranks in the step before, T targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from flare import FLARE, local_nodes, sum_over_ranks, token_sharding
from pipelines.console import UserError
from pipelines.runs.models import MODELS
from pipelines.steps.surrogate import StepSurrogate
from pipelines.training.data import EarlierBatch
from pipelines.training.module import Surrogate

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

    from pipelines.training.data import Batch
    from pipelines.training.options import Job, TrainOptions


def check_sharding(job: Job[TrainOptions]) -> None:
    """Raise unless the model can share the nodes of a case, and the processes are right in number.

    Raises
    ------
    UserError
        Naming what does not fit.
    """
    shards, processes = job.training.shard_nodes, job.training.devices * job.training.nodes
    if shards == 1:
        return
    able = [name for name, entry in MODELS.items() if entry.build is FLARE]
    if job.model not in able:
        raise UserError(f"--shard_nodes: {job.model} cannot share the nodes of a case; {', '.join(able)} can")
    if processes % shards:
        raise UserError(f"--shard_nodes {shards} does not divide the number of devices, {processes}")


def relative_l2_loss_over(
    group: ProcessGroup, prediction_BNT: Tensor, target_BNT: Tensor, scale_BNT: Tensor
) -> Tensor:
    """Relative L2 error of each case over its nodes on all ranks of a group, (B,), the same on all.

    Its gradient is multiplied by the number of these ranks, over which, too, the gradients of
    parameters are averaged by `torch.nn.parallel.DistributedDataParallel`.
    """
    squares_2B = torch.stack(
        [t.flatten(1).square().sum(dim=1) for t in (prediction_BNT - target_BNT, scale_BNT)]
    )
    error_B, size_B = sum_over_ranks(squares_2B, group).sqrt()
    loss_B = error_B / size_B
    return loss_B.detach() + dist.get_world_size(group) * (loss_B - loss_B.detach())


class ShardedSurrogate(Surrogate):
    """A `Surrogate` whose ranks, in groups of `TrainOptions.shard_nodes`, share the nodes of each case."""

    _group: ProcessGroup

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Form the groups, of ranks that follow one another and so are on one machine if it has enough."""
        shards = self._options.shard_nodes
        for first in range(0, self.trainer.world_size, shards):
            # Every rank has to take part in making every group.
            group = dist.new_group(list(range(first, first + shards)))
            if first <= self.global_rank < first + shards:
                self._group = group

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:  # noqa: ARG002
        """Keep the nodes of this rank, so that no others come to its device."""
        return _own_nodes(batch, self._group)

    def _predict(self, batch: Batch) -> Tensor:
        with token_sharding(self._group):
            return super()._predict(batch)

    def _losses(self, batch: Batch) -> Tensor:
        return relative_l2_loss_over(self._group, self._predict(batch), batch.targets, self._scale(batch))


class ShardedStepSurrogate(ShardedSurrogate, StepSurrogate):
    """A `StepSurrogate` of which that is true."""

    def _of_all_nodes(self, values_BMT: Tensor) -> Tensor:
        return _put_together(values_BMT, self._group)


def _own_nodes(batch: Batch, group: ProcessGroup) -> Batch:
    own = local_nodes(batch.inputs.shape[1], group)
    earlier = batch.earlier
    return batch._replace(
        inputs=batch.inputs[:, own],
        targets=batch.targets[:, own],
        mask=None if batch.mask is None else batch.mask[:, own],
        # Nodes take the state before from anywhere in the step before.
        earlier=earlier
        and EarlierBatch(_own_nodes(earlier.batch, group), earlier.nodes[:, own], earlier.weights[:, own]),
    )


def _put_together(values_BMT: Tensor, group: ProcessGroup) -> Tensor:
    """Return the values of the nodes of all ranks, the same on all ranks; without gradient."""
    count = torch.tensor(values_BMT.shape[1], device=values_BMT.device)
    dist.all_reduce(count, group=group)
    nodes = int(count)
    everywhere = values_BMT.new_zeros(len(values_BMT), nodes, values_BMT.shape[2])
    everywhere[:, local_nodes(nodes, group)] = values_BMT
    dist.all_reduce(everywhere, group=group)
    return everywhere
