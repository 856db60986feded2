"""A trained model with everything that belongs to it: the folder that ``lpbf-train`` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

import lpbf_dataset as lpbf
from pipelines import files
from pipelines.checkpoint import RunError, describe, load_checkpoint, restore_model
from pipelines.console import UserError
from pipelines.environment import store_fingerprint
from pipelines.options import read_yaml

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset
    from pipelines.scaling import Scaling

__all__ = ["Run", "RunError"]


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model; `Run.open` makes one.

    Its weights are the exponential moving average at the epoch of the lowest validation loss, or at
    the last epoch where the store has no validation cases.

    Parameters
    ----------
    path : Path
        The folder.
    config : dict
        Contents of ``config.yaml``.
    scaling : Scaling
        Inputs and targets of the model.
    model : Module
        In evaluation mode, on `device`.
    epoch : int
        Epoch of the weights, counted from 1.
    device : device
        Where `predict` computes.
    """

    path: Path
    config: dict[str, Any]
    scaling: Scaling
    model: nn.Module
    epoch: int
    device: torch.device

    @classmethod
    def open(cls, path: str | PathLike[str], device: torch.device | str = "cpu") -> Self:
        """Open the folder of a run.

        Parameters
        ----------
        path : path
            The folder that ``lpbf-train -o`` wrote.
        device : device or str
            Where to predict.

        Raises
        ------
        RunError
            If it is no run, has no checkpoint yet, or is damaged.
        """
        folder = Path(path)
        if not (folder / files.CONFIG).is_file():
            raise RunError(f"{folder} is not a run of lpbf-train: it has no {files.CONFIG}")
        try:
            config = read_yaml(folder / files.CONFIG)
        except UserError as error:
            raise RunError(str(error)) from error
        best = folder / files.BEST_CHECKPOINT
        chosen = best if best.is_file() else folder / files.LAST_CHECKPOINT
        if not chosen.is_file():
            raise RunError(f"{folder} has no checkpoint yet; train it with lpbf-train ... --resume")
        checkpoint = load_checkpoint(chosen)
        return cls(
            folder,
            config,
            describe(checkpoint, chosen).scaling,
            restore_model(checkpoint, chosen).to(device),
            # Lightning counts from 0 and writes the checkpoint within the epoch.
            int(checkpoint["epoch"]) + 1,
            torch.device(device),
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """Scalar fields that `predict` gives, in the order of its columns."""
        return self.scaling.targets

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Contents of ``metrics.json``; raises `RunError` if training is not finished."""
        path = self.path / files.METRICS
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path} is not finished; go on with lpbf-train ... --resume") from None
        except ValueError as error:
            raise RunError(f"{path} is damaged: {error}") from error
        return values

    def dataset(self) -> Dataset:
        """Open the store that the model was trained on.

        Raises
        ------
        RunError
            If the store has other contents than then.
        StoreError
            If it cannot be opened.
        """
        if not isinstance(self.config.get("data"), str):
            raise RunError(f"{self.path / files.CONFIG} does not name a store under 'data'")
        store = lpbf.open_dataset(self.config["data"])
        check_fingerprint(self.path, store)
        return store

    def predict(self, case: Case) -> NDArray[np.float32]:
        """Predict the targets on the nodes of a case.

        Parameters
        ----------
        case : lpbf_dataset.Case
            Only its points are used.

        Returns
        -------
        (nodes, targets) float32 ndarray
            Columns as `targets` names them, in the units of `lpbf_dataset.schema.VARIABLES`.
        """
        x_BNC = torch.from_numpy(self.scaling.inputs(case))[None].to(self.device)
        with torch.inference_mode():
            y_BNT = self.model(x_BNC)
        return self.scaling.decode(y_BNT[0].float().cpu().numpy())


def check_fingerprint(folder: Path, store: Dataset) -> None:
    """Raise `RunError` if a store is not the one that a run was started with."""
    path = folder / files.ENVIRONMENT
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))["store"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is missing or damaged, so {folder} cannot be told from another run"
        ) from error
    if store_fingerprint(store) != expected:
        raise RunError(f"{store!r} holds other cases than when {folder} was started; train anew")
