"""A trained or fitted model with everything that belongs to it: the folder that ``lpbf-train`` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from lightning.fabric.utilities import move_data_to_device

import lpbf_dataset as lpbf
from pipelines import files
from pipelines.checkpoint import RunError, describe, load_checkpoint, restore_model
from pipelines.console import UserError
from pipelines.environment import store_fingerprint
from pipelines.floor_checkpoint import TRAINING_NODES, restore_floor
from pipelines.mesh_view import mesh_arguments
from pipelines.options import read_yaml

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lpbf_dataset import Case
    from lpbf_dataset.store.reader import Dataset
    from pipelines.checkpoint import Description
    from pipelines.scaling import Scaling

__all__ = ["Run", "RunError"]


@dataclass(frozen=True, eq=False)
class Run:
    """A trained or fitted model; `Run.open` makes one.

    The weights of a trained one are the exponential moving average at the epoch of the lowest validation
    loss, or at the last epoch where the store has no validation cases.

    Parameters
    ----------
    path : Path
        The folder.
    config : dict
        Contents of ``config.yaml``.
    description : Description
        What kind of model, its inputs and targets.
    model : Module
        In evaluation mode, on `device`.
    epoch : int or None
        Epoch of the weights, counted from 1; None for a floor, which has none.
    device : device
        Where `predict` computes.
    """

    path: Path
    config: dict[str, Any]
    description: Description
    model: nn.Module
    epoch: int | None
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
        if (folder / TRAINING_NODES).is_file():
            description, floor = restore_floor(folder / TRAINING_NODES)
            return cls(folder, config, description, floor, None, torch.device(device))
        best = folder / files.BEST_CHECKPOINT
        chosen = best if best.is_file() else folder / files.LAST_CHECKPOINT
        if not chosen.is_file():
            raise RunError(f"{folder} has no checkpoint yet; train it with lpbf-train ... --resume")
        checkpoint = load_checkpoint(chosen)
        return cls(
            folder,
            config,
            describe(checkpoint, chosen),
            restore_model(checkpoint, chosen).to(device),
            # Lightning counts from 0 and writes the checkpoint within the epoch.
            int(checkpoint["epoch"]) + 1,
            torch.device(device),
        )

    @property
    def scaling(self) -> Scaling:
        """Between physical units and what the model sees."""
        return self.description.scaling

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

    def predict(self, case: Case, levels_folder: Path | None = None) -> NDArray[np.float32]:
        """Predict the targets on the nodes of a case.

        Parameters
        ----------
        case : lpbf_dataset.Case
            Of it are used the points, and the variables of `description.features` and
            `description.mesh_view`.
        levels_folder : Path, optional
            Where coarser graphs of meshes are kept, see `pipelines.mesh_view.levels_folder`; None
            coarsens the mesh every time.

        Returns
        -------
        (nodes, targets) float32 ndarray
            Columns as `targets` names them, in the units of `lpbf_dataset.schema.VARIABLES`.

        Raises
        ------
        RunError
            If the case has not got all of them.
        """
        view = self.description.mesh_view
        if absent := [
            name for name in (*self.description.features, *view.variables) if name not in case.variables
        ]:
            raise RunError(
                f"case {case.case_id!r} has no {', '.join(absent)}, which {self.description.model} needs"
            )
        x_BNC = torch.from_numpy(self.description.inputs(case))[None]
        mesh = mesh_arguments([view.of_case(case, levels_folder)], case.node_count)
        with torch.inference_mode():
            y_BNT = self.model(x_BNC.to(self.device), **move_data_to_device(mesh, self.device))
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
