"""The start of a training: its folder is made, and what is trained on what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from lightning.pytorch.callbacks import Callback

from pipelines.runs import files
from pipelines.runs.folder import create_run_folder, discard_run_folder
from pipelines.runs.scaling import scalar_targets
from pipelines.training.ranks import on_rank_zero

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from lpbf_dataset.store.reader import Dataset
    from pipelines.training.options import Job, TrainOptions

DTYPES = {"32-true": "float32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}
"""What matrix products are computed in, by precision of the trainer; it may differ from the one asked for,
as there is no float16 on CPUs."""


class Start(Callback):
    """Makes the run folder when all ranks are connected, and so hear of it if that fails.

    Parameters
    ----------
    job : Job
        What is asked for.
    store : Dataset
        What is trained on.
    """

    def __init__(self, job: Job[TrainOptions], store: Dataset) -> None:
        self._job = job
        self._store = store
        self._has_made_folder = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Begin."""
        on_rank_zero(lambda: self._begin(trainer, pl_module))

    def on_exception(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        exception: BaseException,
    ) -> None:
        """Leave no folder of a start that failed before there was anything to go on from."""
        is_resumable = isinstance(exception, KeyboardInterrupt) or any(
            (self._job.output / path).exists() for path in (files.LAST_CHECKPOINT, files.PREVIOUS_CHECKPOINT)
        )
        if self._has_made_folder and not is_resumable:
            discard_run_folder(self._job.output)

    def _begin(self, trainer: Trainer, surrogate: LightningModule) -> None:
        if not self._job.resume:
            dtype = DTYPES[trainer.precision]
            create_run_folder(self._job, self._store, trainer.strategy.root_device, dtype)
            self._has_made_folder = True
        if not self._job.quiet:
            self._announce(trainer, surrogate)

    def _announce(self, trainer: Trainer, surrogate: LightningModule) -> None:
        job, store = self._job, self._store
        parameters = sum(parameter.numel() for parameter in surrogate.parameters())
        nodes = int(store.train.case_table["node_count"].sum())
        device = trainer.strategy.root_device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        devices = name if trainer.world_size == 1 else f"{trainer.world_size} x {name}"
        dtype = DTYPES[trainer.precision]
        numbers = "float32" if dtype == "float32" else f"{dtype}, weights float32"
        compiled = ", compiled" if job.training.compile else ""
        print(f"model    {job.model}, {parameters:,} parameters, on {devices}, in {numbers}{compiled}")
        print(
            f"data     {job.training.data}: {len(store.train)} train cases ({nodes:,} nodes), "
            f"{len(store.val)} val, {len(store.test)} test"
        )
        if job.training.task != "final":
            print(f"task     {job.training.task}")
        print(f"targets  {', '.join(scalar_targets(job.training.targets))}")
