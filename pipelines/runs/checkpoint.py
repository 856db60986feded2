"""Checkpoints: written whole or not at all, read without executing anything."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from baselines.registry import find_model
from pipelines.console import UserError
from pipelines.runs import files
from pipelines.runs.features import feature_columns
from pipelines.runs.mesh_view import MeshView
from pipelines.runs.models import ALL_MODELS
from pipelines.runs.scaling import Scaling
from pipelines.steps.tasks import StepTask

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from torch import nn

    from lpbf_dataset import Case

SURROGATE_KEY = "lpbf_surrogate"
"""Where a checkpoint says what it takes to build the model."""


class RunError(UserError):
    """A run folder, or a checkpoint in it, cannot be used."""


@dataclass(frozen=True)
class Description:
    """What it takes to build a trained model again and to use it.

    Parameters
    ----------
    model : str
        Name in `pipelines.runs.models.ALL_MODELS`.
    model_options : dict
        Fields of its configuration dataclass.
    scaling : Scaling
        Its positions and targets.
    features : tuple of str
        Geometry features that it sees besides positions.
    feature_scale : float
        What the distances among them are divided by, in mm.
    task : StepTask or None
        What it predicts of the steps of a build; None if it predicts the final state.
    """

    model: str
    model_options: dict[str, Any]
    scaling: Scaling
    features: tuple[str, ...] = ()
    feature_scale: float = 1.0
    task: StepTask | None = None

    @property
    def mesh_view(self) -> MeshView:
        """What the model sees of the mesh besides features of nodes."""
        return MeshView.of_model(find_model(self.model, ALL_MODELS), self.model_options)

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables of the store that inputs and targets are made of."""
        return tuple(dict.fromkeys((*self.scaling.variables, *self.features, *self.mesh_view.variables)))

    def inputs(self, case: Case) -> NDArray[np.float32]:
        """Features of each node: scaled position, then those of `features`; (nodes, channels) float32."""
        features = feature_columns(case, self.features, self.feature_scale)
        return np.concatenate([self.scaling.inputs(case), *features], axis=1)

    def build(self) -> nn.Module:
        """Return a freshly initialised model.

        Raises
        ------
        ValueError, TypeError
            If there is no such model, or its options do not fit.
        """
        entry = find_model(self.model, ALL_MODELS)
        return entry.build(entry.config_type(**self.model_options))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target and rename; Lightning's own writer may copy between file systems."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint; the last one before it becomes the previous one."""
        assert storage_options is None
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        # Whenever the machine stops, the last or the previous checkpoint is there and whole.
        if target.name == files.LAST_CHECKPOINT.name and target.exists():
            target.replace(target.with_name(files.PREVIOUS_CHECKPOINT.name))
        partial.replace(target)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint of a surrogate.

    Parameters
    ----------
    path : Path
        The file.
    device : device or str
        Where its tensors go.

    Returns
    -------
    dict
        As Lightning wrote it; ``state_dict`` holds the averaged weights.

    Raises
    ------
    RunError
        If it is missing, damaged, not of this toolkit, or would execute code.
    """
    try:
        _check_sums(path)
        checkpoint = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise RunError(f"there is no {path}") from None
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{path} is damaged or holds more than tensors and plain values; train again"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} is damaged, it cannot be read as a checkpoint; train again") from error
    if not isinstance(checkpoint, dict) or SURROGATE_KEY not in checkpoint:
        raise RunError(f"{path} is not a checkpoint of lpbf-train")
    return checkpoint


def _check_sums(path: Path) -> None:
    """Raise `zipfile.BadZipFile` unless the checksums hold, which PyTorch writes but does not look at."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} has another checksum")


def newest_checkpoint(run: Path) -> tuple[Path | None, list[RunError]]:
    """Find the newest checkpoint to go on from.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    path : Path or None
        It is whole; None if none was written yet.
    passed : list of RunError
        What is wrong with a newer one.

    Raises
    ------
    RunError
        If there are checkpoints, but none that is whole.
    """
    candidates = [run / files.LAST_CHECKPOINT, run / files.PREVIOUS_CHECKPOINT]
    if not any(path.exists() for path in candidates):
        return None, []
    passed: list[RunError] = []
    for path in candidates:
        try:
            describe(load_checkpoint(path), path)
        except RunError as error:
            passed.append(error)
        else:
            return path, passed
    raise RunError("; ".join(map(str, passed)))


def describe(checkpoint: dict[str, Any], path: Path) -> Description:
    """Read the description of the model from a checkpoint.

    Raises
    ------
    RunError
        If it is not as `Description` says.
    """
    try:
        return read_description(checkpoint[SURROGATE_KEY])
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} describes its model in a way this version does not know: {error}") from error


def read_description(stored: dict[str, Any]) -> Description:
    """Undo `dataclasses.asdict`, and what JSON made of tuples.

    Raises
    ------
    KeyError, TypeError, AttributeError
        If it is not as `Description` says.
    """
    scaling = Scaling(**{name: tuple(values) for name, values in stored["scaling"].items()})
    features = tuple(stored.get("features", ()))
    # Checkpoints may be older than tasks.
    task = stored.get("task")
    return Description(
        **{
            **stored,
            "scaling": scaling,
            "features": features,
            "task": task and StepTask.from_stored(task),
        }
    )


def restore_model(checkpoint: dict[str, Any], path: Path) -> nn.Module:
    """Build the model of a checkpoint with its averaged weights, ready to predict.

    Raises
    ------
    RunError
        If model and weights do not belong together.
    """
    prefix = "model."
    try:
        model = describe(checkpoint, path).build()
        weights = {
            name.removeprefix(prefix): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(prefix)
        }
        model.load_state_dict(weights)
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        if isinstance(error, RunError):
            raise
        reason = " ".join(str(error).split())
        raise RunError(f"the weights in {path} do not fit its model: {reason}") from error
    return model.eval()
