"""Options of ``lpbf-train`` and where their values come from.

From weakest to strongest: the preset (``--preset``, a file in ``pipelines/recipes``), YAML files
(``--config``, a later one over an earlier one), options on the command line.  With ``--resume``, the
configuration stored in the run takes the place of the preset.
"""

from __future__ import annotations

import argparse
import difflib
import glob
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml  # type: ignore[import-untyped]
from jsonargparse import ActionConfigFile, ArgumentParser

from pipelines.console import UserError, add_verbosity
from pipelines.scaling import scalar_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import Namespace

    from baselines.entry import ModelEntry

RECIPES = Path(__file__).parent / "recipes"
PRESETS = tuple(sorted({path.name.partition(".")[0] for path in RECIPES.glob("*.yaml")}))
"""``<preset>.yaml`` holds options of training, ``<preset>.<model>.yaml`` those of one model."""

DEFAULT_PRESET = "lpbf"

IN_CHANNELS = 3
"""Inputs of every model: the scaled position of a node."""


@dataclass(frozen=True)
class TrainOptions:
    """Training; the defaults are the published LPBF recipe.

    Parameters
    ----------
    data : str
        The store to train on: path or URL.
    targets : tuple of str
        Fields to predict: displacement_z, von_mises_stress, ...; a vector gives all its components.
    coordinate_scale : tuple of float
        What x, y and z are divided by, in mm.
    epochs : int
        Passes over the training cases.
    min_steps : int
        Train for more epochs until so many steps are taken, which a store of few cases needs.
    batch_size : int
        Cases per step and device.
    learning_rate : float
        Peak of the one-cycle schedule.
    weight_decay : float
        Weight decay of AdamW.
    gradient_clip : float
        Largest norm of the gradient; 0 for no limit.
    ema_decay : float
        Decay per step of the average of the weights that is evaluated; 0 evaluates the latest.
    seed : int
        Of initial weights and order of cases.
    accelerator : str
        Kind of device: auto, cpu, gpu or mps.
    devices : int
        How many of them.
    precision : str
        32-true, bf16-mixed or 16-mixed.
    num_workers : int
        Processes that read cases ahead, per device.
    """

    data: str
    targets: tuple[str, ...] = ("displacement_z",)
    coordinate_scale: tuple[float, float, float] = (30.0, 30.0, 60.0)
    epochs: int = 250
    min_steps: int = 0
    batch_size: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    num_workers: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "devices", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"--{name} must be positive, not {getattr(self, name)}")
        for name in ("min_steps", "num_workers", "seed", "weight_decay", "gradient_clip"):
            if not getattr(self, name) >= 0:
                raise UserError(f"--{name} must not be negative, it is {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"--ema_decay must be at least 0 and less than 1, not {self.ema_decay}")
        if not all(length > 0 for length in self.coordinate_scale):
            raise UserError(f"--coordinate_scale must be positive, not {self.coordinate_scale}")
        scalar_targets(self.targets)


MAY_CHANGE_ON_RESUME = frozenset({"data", "accelerator", "num_workers"})
"""Options that say where and how to compute, not what; a store that moved is told by its content."""


@dataclass(frozen=True)
class Job:
    """A training as asked for on the command line.

    Parameters
    ----------
    model : str
        Name in `pipelines.models.MODELS`.
    model_options : dict
        Its configuration without the numbers of channels that the data decide.
    training : TrainOptions
        How to train it.
    output : Path
        The run folder.
    resume : bool
        Go on from the last checkpoint of `output`.
    quiet, verbose : bool
        Less or more on the console.
    """

    model: str
    model_options: dict[str, Any]
    training: TrainOptions
    output: Path
    resume: bool
    quiet: bool
    verbose: bool

    def config(self) -> dict[str, Any]:
        """Everything that decides the result, as ``--config`` takes it."""
        training = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.training).items()
        }
        model = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.model_options.items()
        }
        return {**training, "model": {"name": self.model, **model}}


def parse_job(entry: ModelEntry[Any], arguments: Sequence[str]) -> Job:
    """Parse the arguments after the name of the model.

    Raises
    ------
    UserError
        If an option or a configuration file is wrong.
    """
    try:
        configs, rest = _split_off_configs(arguments)
        given = [(Path(path), read_yaml(Path(path))) for path in configs]
        parser = build_parser(entry, _base_configs(entry.name, rest, given))
        for path, values in given:
            _check_keys(path, values, parser)
        # First the files, so that options win wherever they stand.
        options = parser.parse_args([*(f"--config={path}" for path in configs), *rest])
    except argparse.ArgumentError as error:
        message = " ".join(str(error).split())
        raise UserError(f"{message} (lpbf-train {entry.name} --help lists the options)") from error
    return _job(entry, options)


def build_parser(entry: ModelEntry[Any], defaults: Sequence[Path]) -> ArgumentParser:
    """Return the options of ``lpbf-train`` for one model, with defaults from YAML files."""
    parser = ArgumentParser(
        prog=f"lpbf-train {entry.name}",
        description=(
            f"Train {entry.name} ({entry.citation}).  Options beat --config files, files beat the preset; "
            "--resume puts the configuration stored in the run in the place of the preset."
        ),
        default_config_files=[glob.escape(str(path)) for path in defaults],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options; may be repeated")
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET, help="recipe to start from")
    parser.add_argument("-o", "--output", type=str, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    add_verbosity(parser)
    # Lists as words after the option, `--targets a b`, rather than in brackets.
    parser.add_argument(
        "--targets", type=str, nargs="+", default=["displacement_z"], help="fields to predict"
    )
    parser.add_argument(
        "--coordinate_scale",
        type=float,
        nargs=3,
        default=[30.0, 30.0, 60.0],
        help="mm that x, y, z are divided by",
    )
    parser.add_class_arguments(TrainOptions, skip={"targets", "coordinate_scale"})
    parser.add_argument("--model.name", choices=[entry.name], default=entry.name, help="the model itself")
    parser.add_class_arguments(entry.config_type, "model", skip={"in_channels", "out_channels"})
    return parser


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of options.

    Raises
    ------
    UserError
        If it is missing or is no YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no options: expected lines such as 'epochs: 10'")
    return values


def _split_off_configs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    known, rest = parser.parse_known_args(arguments)
    return known.config, rest


def _base_configs(
    model: str, arguments: Sequence[str], given: Sequence[tuple[Path, dict[str, Any]]]
) -> list[Path]:
    """Files of the weakest values: the configuration of the run to resume, or else the preset."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("-o", "--output")
    parser.add_argument("--resume", action="store_true")
    known, _ = parser.parse_known_args(arguments)
    if known.resume and known.output:
        stored = Path(known.output) / "config.yaml"
        if not stored.is_file():
            raise UserError(f"nothing to resume in {known.output}: it has no config.yaml; leave out --resume")
        read_yaml(stored)
        return [stored]
    in_files = [values["preset"] for _, values in given if "preset" in values]
    preset = known.preset or (in_files[-1] if in_files else DEFAULT_PRESET)
    if preset not in PRESETS:
        raise UserError(f"no preset named {preset!r}; there are {', '.join(PRESETS)}")
    recipes = (RECIPES / f"{preset}.yaml", RECIPES / f"{preset}.{model}.yaml")
    return [path for path in recipes if path.is_file()]


def _check_keys(path: Path, values: dict[str, Any], parser: ArgumentParser) -> None:
    """Name the file and the nearest option, which jsonargparse does not."""
    known = {name for name in parser.get_defaults().keys() if name != "config"}  # noqa: SIM118
    sections = {name.partition(".")[0] for name in known if "." in name}
    for key, value in values.items():
        inner = value if key in sections and isinstance(value, dict) else None
        for name in [key] if inner is None else [f"{key}.{part}" for part in inner]:
            if name not in known:
                nearest = difflib.get_close_matches(str(name), known, n=1)
                suggestion = f"; did you mean {nearest[0]!r}?" if nearest else ""
                raise UserError(f"{path}: there is no option {name!r}{suggestion}")


def _job(entry: ModelEntry[Any], options: Namespace) -> Job:
    values = options.as_dict()
    training = {field.name: values[field.name] for field in fields(TrainOptions)}
    training["targets"] = tuple(training["targets"] or ())
    training["coordinate_scale"] = tuple(training["coordinate_scale"] or ())
    if "://" not in training["data"]:
        # The run is used from other folders than the one it was started in.
        training["data"] = str(Path(training["data"]).absolute())
    model_options = {name: value for name, value in values["model"].items() if name != "name"}
    if empty := [name for name, value in {**training, **model_options}.items() if value is None]:
        raise UserError(f"{', '.join(empty)} must have a value")
    try:
        config = entry.config_type(in_channels=IN_CHANNELS, out_channels=1, **model_options)
    except ValueError as error:
        raise UserError(f"--model: {error}") from error
    if getattr(config, "condition_channels", 0):
        raise UserError("--model.condition_channels must be 0: a store has no scalars of a case to train on")
    return Job(
        entry.name,
        model_options,
        TrainOptions(**training),
        Path(options.output),
        options.resume,
        options.quiet,
        options.verbose,
    )
