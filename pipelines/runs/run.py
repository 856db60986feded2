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
from pipelines.console import UserError
from pipelines.runs import files
from pipelines.runs.checkpoint import RunError, describe, load_checkpoint, restore_model
from pipelines.runs.ensemble_model import EnsembleModel, mean_and_spread
from pipelines.runs.environment import store_fingerprint
from pipelines.runs.floor_checkpoint import TRAINING_NODES, restore_floor
from pipelines.runs.mesh_view import mesh_arguments
from pipelines.steps.rollout import predict_step, roll_out, roll_out_with_uncertainty
from pipelines.training.options import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lpbf_dataset import Case
    from lpbf_dataset.steps import CaseStep
    from lpbf_dataset.store.reader import Dataset
    from pipelines.runs.checkpoint import Description
    from pipelines.runs.scaling import Scaling

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
        In evaluation mode, on `device`; an `EnsembleModel` if there are several.
    epoch : int or None
        Epoch of the weights, counted from 1; None for a floor, which has none, and for an ensemble.
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
        members = config.get("members", 1)
        if isinstance(members, int) and members > 1:
            return cls._open_ensemble(folder, config, members, torch.device(device))
        return cls._open_single(folder, config, torch.device(device))

    @classmethod
    def _open_single(cls, folder: Path, config: dict[str, Any], device: torch.device) -> Self:
        if (folder / TRAINING_NODES).is_file():
            description, floor = restore_floor(folder / TRAINING_NODES)
            return cls(folder, config, description, floor, None, device)
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
            device,
        )

    @classmethod
    def _open_ensemble(cls, folder: Path, config: dict[str, Any], members: int, device: torch.device) -> Self:
        opened: list[Self] = []
        for index in range(members):
            path = files.member_folder(folder, index)
            if not path.is_dir():
                raise RunError(
                    f"{folder} has {index} of its {members} members; train the others with "
                    "lpbf-train ... --resume"
                )
            opened.append(cls._open_single(path, config, device))
        first = opened[0].description
        for member in opened:
            if member.description != first:
                raise RunError(f"{member.path} is of another model or scaling than {opened[0].path}")
        model = EnsembleModel(member.model for member in opened).eval()
        return cls(folder, config, first, model, None, device)

    @property
    def members(self) -> int:
        """How many models predict: 1, or the size of the ensemble."""
        return len(self.model.members) if isinstance(self.model, EnsembleModel) else 1

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
            Where coarser graphs of meshes are kept, see `pipelines.runs.mesh_view.levels_folder`; None
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
        return self.predict_with_uncertainty(case, levels_folder)[0]

    def predict_with_uncertainty(
        self, case: Case, levels_folder: Path | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Predict the targets on the nodes of a case, and how sure that is.

        Parameters
        ----------
        case, levels_folder
            As of `predict`.

        Returns
        -------
        mean : (nodes, targets) float32 ndarray
            As `predict` gives it: of an ensemble, the mean over its members.
        std : (nodes, targets) float32 ndarray or None
            Standard deviation over the members, in the same units, see
            `pipelines.runs.ensemble_model.mean_and_spread`; None for a single model.

        Raises
        ------
        RunError
            As of `predict`.
        """
        return mean_and_spread(self._predict_each(case, levels_folder))

    def predict_step(
        self,
        step: CaseStep,
        before: CaseStep | None = None,
        state: NDArray[np.floating] | None = None,
        levels_folder: Path | None = None,
    ) -> NDArray[np.float32]:
        """Predict the targets after a step of a build, see `pipelines.steps.rollout.predict_step`."""
        return predict_step(self, step, before, state, levels_folder)

    def roll_out(
        self, case: Case, levels_folder: Path | None = None
    ) -> Iterator[tuple[CaseStep, NDArray[np.float32]]]:
        """Predict each step of a build from what was predicted before: `pipelines.steps.rollout.roll_out`."""
        return roll_out(self, case, levels_folder)

    def roll_out_with_uncertainty(
        self, case: Case, levels_folder: Path | None = None
    ) -> Iterator[tuple[CaseStep, NDArray[np.float32], NDArray[np.float32] | None]]:
        """Roll out, and tell how sure that is: `pipelines.steps.rollout.roll_out_with_uncertainty`."""
        return roll_out_with_uncertainty(self, case, levels_folder)

    def _predict_each(self, case: Case, levels_folder: Path | None) -> NDArray[np.float32]:
        """Predictions of every member, (members, nodes, targets)."""
        if self.description.task is not None:
            raise RunError(
                f"{self.path} predicts the steps of a build, and no final state by itself: call Run.roll_out "
                "with a case that has steps, or Run.predict_step"
            )
        view = self.description.mesh_view
        if absent := [
            name for name in (*self.description.features, *view.variables) if name not in case.variables
        ]:
            raise RunError(
                f"case {case.case_id!r} has no {', '.join(absent)}, which {self.description.model} needs"
            )
        return self.scaling.decode(self.outputs(case, self.description.inputs(case), levels_folder))

    def outputs(
        self, case: Case, inputs: NDArray[np.float32], levels_folder: Path | None
    ) -> NDArray[np.float32]:
        """Standardised outputs of every member, (members, nodes, targets) float32.

        Parameters
        ----------
        case : lpbf_dataset.Case
            Whose mesh the model sees.
        inputs : (nodes, channels) or (members, nodes, channels) float32 ndarray
            What all members, or each of them, see on the nodes.
        levels_folder : Path or None
            As of `predict`.
        """
        x_KBNC = torch.from_numpy(inputs).expand(self.members, -1, -1)[:, None].to(self.device)
        view = self.description.mesh_view
        mesh = mesh_arguments([view.of_case(case, levels_folder)], case.node_count)
        mesh = move_data_to_device(mesh, self.device)
        with torch.inference_mode():
            if isinstance(self.model, EnsembleModel):
                y_KBNT = self.model.each(x_KBNC, **mesh)
            else:
                y_KBNT = self.model(x_KBNC[0], **mesh)[None]
        outputs: NDArray[np.float32] = y_KBNT[:, 0].float().cpu().numpy()
        return outputs


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
