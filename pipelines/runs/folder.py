"""Starting a run folder, and telling whether a training may go on in one."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]

from baselines.registry import find_model
from pipelines.console import UserError
from pipelines.runs import files
from pipelines.runs.environment import environment
from pipelines.runs.models import ALL_MODELS
from pipelines.runs.run import check_fingerprint
from pipelines.runs.training_set import TrainingSet
from pipelines.training.options import MAY_CHANGE_ON_RESUME, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from lpbf_dataset.store.reader import Dataset
    from pipelines.training.options import Job


def is_finished(folder: Path) -> bool:
    """Whether training and evaluation are done."""
    return (folder / files.METRICS).is_file()


def create_run_folder(job: Job, store: Dataset, device: torch.device, dtype: str = "float32") -> None:
    """Make the folder, with what the run is about.

    Parameters
    ----------
    job : Job
        What was asked for.
    store : Dataset
        Every case of the store.
    device : device
        Where the model is trained.
    dtype : str
        What matrix products are computed in.

    Raises
    ------
    UserError
        If the folder holds anything.
    """
    folder = job.output
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists; go on with it by --resume, or choose another folder by -o")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / files.ENVIRONMENT, environment(store, job.training.data, device, dtype))
    TrainingSet.of_store(store).write(folder)
    header = f"# Repeat with: lpbf-train {job.model} --config {files.CONFIG} -o ANOTHER_RUN\n"
    files.write_text(folder / files.CONFIG, header + yaml.safe_dump(job.config(), sort_keys=False))


def discard_run_folder(folder: Path) -> None:
    """Take back what a failed start has made, so that the next may try.

    Parameters
    ----------
    folder : Path
        Made by `create_run_folder`; so what it holds has been written since.
    """
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    # It may be a link, or the folder that the command was started in.
    with contextlib.suppress(OSError):
        folder.rmdir()


def check_resumable(job: Job, store: Dataset) -> None:
    """Raise unless a training may go on in its folder.

    What its configuration does not tell, as it is older than the option, is the default.

    Raises
    ------
    UserError
        If the configuration or the contents of the store have changed.
    """
    path = job.output / files.CONFIG
    stored = {**_defaults(job), **_flat(read_yaml(path))}
    asked = _flat(job.config())
    changed = [
        f"{name} is {asked.get(name)}, not {stored.get(name)}"
        for name in {**stored, **asked}
        if name not in MAY_CHANGE_ON_RESUME and asked.get(name) != stored.get(name)
    ]
    if changed:
        raise UserError(
            f"{job.output} was started otherwise: {'; '.join(changed)}; leave these options out or start anew"
        )
    check_fingerprint(job.output, store)


def _defaults(job: Job) -> dict[str, object]:
    """Return the defaults of all options that have one."""
    config_type = find_model(job.model, ALL_MODELS).config_type
    model = {field.name: field.default for field in fields(config_type) if field.name in job.model_options}
    training = {field.name: field.default for field in fields(job.training)}
    known = _flat({**training, "model": model})
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in known.items()
        if value is not MISSING
    }


def _flat(config: dict[str, object]) -> dict[str, object]:
    model = config.get("model")
    inner = {f"model.{name}": value for name, value in model.items()} if isinstance(model, dict) else {}
    return {**{name: value for name, value in config.items() if name != "model"}, **inner}
