"""Checkpoints of floors: the nodes that they were fitted to, and nothing of how they are inside.

A floor is restored by fitting it again, which takes seconds and gives the same.  So the file holds arrays
and JSON alone: reading it executes nothing, and scikit-learn, which promises no format of its trees, may
change.  Rounding, and so a tree, may differ on another machine or with another version of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from baselines.floors import Floor
from pipelines.runs import files
from pipelines.runs.checkpoint import SURROGATE_KEY, Description, RunError, read_description

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TRAINING_NODES = files.CHECKPOINTS / "training_nodes.safetensors"
"""Where the checkpoint lies in a run folder."""


def save_floor(
    path: Path, description: Description, inputs: NDArray[np.float32], targets: NDArray[np.float32]
) -> None:
    """Write what it takes to fit a floor, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    description : Description
        Of a floor.
    inputs : (n, channels) float32 ndarray
        As `Description.inputs` makes them.
    targets : (n, targets) float32 ndarray
        As `Scaling.encode` makes them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    metadata = {SURROGATE_KEY: json.dumps(asdict(description))}
    # Its own writing of files makes them unreadable to everyone else.
    partial.write_bytes(save({"inputs": inputs, "targets": targets}, metadata))
    partial.replace(path)


def restore_floor(path: Path) -> tuple[Description, Floor]:
    """Read a file that `save_floor` wrote, and fit its floor.

    Raises
    ------
    RunError
        If it is missing, damaged, or not of this toolkit.
    """
    stored, inputs, targets = _read(path)
    try:
        description = read_description(stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} describes its floor in a way this version does not know: {error}") from error
    try:
        floor = description.build()
        if not isinstance(floor, Floor):
            raise RunError(f"{path}: {description.model} is trained, not fitted")
        floor.fit(inputs, targets)
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, RunError):
            raise
        reason = " ".join(str(error).split())
        raise RunError(f"the nodes in {path} do not fit its floor: {reason}") from error
    return description, floor.eval()


def _read(path: Path) -> tuple[dict[str, object], NDArray[np.float32], NDArray[np.float32]]:
    try:
        with safe_open(path, framework="numpy") as file:
            stored = (file.metadata() or {}).get(SURROGATE_KEY)
            if stored is None:
                raise RunError(f"{path} is not a checkpoint of lpbf-train")
            inputs, targets = (np.asarray(file.get_tensor(name)) for name in ("inputs", "targets"))
            return json.loads(stored), inputs.astype(np.float32), targets.astype(np.float32)
    except FileNotFoundError:
        raise RunError(f"there is no {path}") from None
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path} is damaged, it cannot be read as a checkpoint; fit again") from error
