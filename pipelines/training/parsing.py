"""From the arguments of ``lpbf-train`` to what is asked for.

From weakest to strongest, values come from: the recipe (``--recipe``, see `pipelines.training.recipe`), YAML
files (``--config``, a later one over an earlier one), options on the command line.  With ``--resume``,
the configuration stored in the run takes the place of the recipe.  Floors have no recipes.
"""

from __future__ import annotations

import argparse
import glob
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionConfigFile, ActionYesNo, ArgumentParser

from lpbf_dataset.schema import FEATURE_VARIABLES
from pipelines.console import UserError, add_verbosity, did_you_mean
from pipelines.runs.features import POSITION_CHANNELS
from pipelines.training.augmentation import SYMMETRIES
from pipelines.training.options import FitOptions, Job, OptionsT, TrainOptions, read_yaml
from pipelines.training.recipe import DEFAULT_RECIPE, find_recipe, recipes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import Namespace

    from baselines.entry import ModelEntry
    from pipelines.training.recipe import Recipes

LISTS: dict[str, tuple[type, int | str, str]] = {
    "targets": (str, "+", "fields to predict"),
    "features": (
        str,
        "*",
        "geometry features the model sees besides positions: " + ", ".join(FEATURE_VARIABLES),
    ),
    "augment": (str, "*", "symmetries to draw training cases from: " + ", ".join(SYMMETRIES)),
    "coordinate_scale": (float, 3, "mm that x, y, z are divided by"),
    "betas": (float, 2, "decay rates of the optimiser's averages"),
}
"""Options that are lists as words, ``--targets a b``, rather than in brackets."""

SWITCHES = {
    "compile": "compile the model; slow at the start, needs a C++ compiler",
    "increments": "with --task next-step, predict what a step adds rather than the state after it",
    "pushforward": (
        "with --task next-step, start from the model's own prediction of the state before, so that it learns "
        "to go on from its errors; costs another evaluation"
    ),
    "across_removal": (
        "with --task next-step or any-step, learn the steps, too, in which the part comes off the plate"
    ),
}
"""Options that are on or off: ``--compile`` or ``--no_compile``."""


def parse_job(entry: ModelEntry[Any], arguments: Sequence[str]) -> Job[TrainOptions]:
    """Parse the arguments after the name of a model that is trained.

    Raises
    ------
    UserError
        If an option or a configuration file is wrong.
    """
    return _parse(entry, arguments, TrainOptions)


def parse_fit(entry: ModelEntry[Any], arguments: Sequence[str]) -> Job[FitOptions]:
    """Parse the arguments after the name of a floor, as `parse_job` does."""
    return _parse(entry, arguments, FitOptions)


def _parse(entry: ModelEntry[Any], arguments: Sequence[str], options_type: type[OptionsT]) -> Job[OptionsT]:
    try:
        configs, rest = _split_off_configs(arguments)
        given = [(Path(path), read_yaml(Path(path))) for path in configs]
        recipes = recipes_of(entry.name) if options_type is TrainOptions else {}
        parser = _build_parser(entry, options_type, recipes, _base_configs(entry.name, rest, given, recipes))
        for path, values in given:
            _check_keys(path, values, parser)
        # First the files, so that options win wherever they stand.
        options = parser.parse_args([*(f"--config={path}" for path in configs), *rest])
    except argparse.ArgumentError as error:
        message = " ".join(str(error).split())
        raise UserError(f"{message} (lpbf-train {entry.name} --help lists the options)") from error
    return _job(entry, options, options_type)


def _build_parser(
    entry: ModelEntry[Any],
    options_type: type[OptionsT],
    recipes: Recipes,
    defaults: Sequence[Path],
) -> ArgumentParser:
    """Return the options of ``lpbf-train`` for one model, with defaults from YAML files."""
    weakest = "the recipe" if recipes else "defaults"
    parser = ArgumentParser(
        prog=f"lpbf-train {entry.name}",
        description=(
            f"Train {entry.name} ({entry.citation}).  Options beat --config files, files beat {weakest}; "
            f"--resume puts the configuration stored in the run in the place of {weakest}."
        ),
        default_config_files=[glob.escape(str(path)) for path in defaults],
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file of options; may be repeated")
    if recipes:
        parser.add_argument("--recipe", choices=[*recipes], default=DEFAULT_RECIPE, help="where values start")
    parser.add_argument("-o", "--output", type=str, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    add_verbosity(parser)
    defaults_of: dict[str, Any] = {field.name: field.default for field in fields(options_type)}
    for name, (kind, count, text) in LISTS.items():
        if name in defaults_of:
            default = list(defaults_of[name])
            parser.add_argument(f"--{name}", type=kind, nargs=count, default=default, help=text)
    for name, text in SWITCHES.items():
        if name in defaults_of:
            switch = ActionYesNo(no_prefix="no_")
            parser.add_argument(f"--{name}", action=switch, default=defaults_of[name], help=text)
    parser.add_class_arguments(options_type, skip={*LISTS, *SWITCHES})
    parser.add_argument("--model.name", choices=[entry.name], default=entry.name, help="the model itself")
    parser.add_class_arguments(entry.config_type, "model", skip={"in_channels", "out_channels"})
    return parser


def _split_off_configs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="append", default=[])
    known, rest = parser.parse_known_args(arguments)
    return known.config, rest


def _base_configs(
    model: str,
    arguments: Sequence[str],
    given: Sequence[tuple[Path, dict[str, Any]]],
    recipes: Recipes,
) -> Sequence[Path]:
    """Files of the weakest values: the configuration of the run to resume, or else the recipe if any."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--recipe")
    parser.add_argument("-o", "--output")
    parser.add_argument("--resume", action="store_true")
    known, _ = parser.parse_known_args(arguments)
    if known.resume and known.output:
        stored = Path(known.output) / "config.yaml"
        if not stored.is_file():
            raise UserError(f"nothing to resume in {known.output}: it has no config.yaml; leave out --resume")
        read_yaml(stored)
        return [stored]
    if not recipes:
        return ()
    in_files = [str(values["recipe"]) for _, values in given if "recipe" in values]
    return find_recipe(known.recipe or (in_files[-1] if in_files else DEFAULT_RECIPE), model, recipes)


def _check_keys(path: Path, values: dict[str, Any], parser: ArgumentParser) -> None:
    """Name the file and the nearest option, which jsonargparse does not."""
    known = {name for name in parser.get_defaults().keys() if name != "config"}  # noqa: SIM118
    sections = {name.partition(".")[0] for name in known if "." in name}
    for key, value in values.items():
        inner = value if key in sections and isinstance(value, dict) else None
        for name in [key] if inner is None else [f"{key}.{part}" for part in inner]:
            if name not in known:
                raise UserError(f"{path}: there is no option {name!r}{did_you_mean(str(name), known)}")


def _job(entry: ModelEntry[Any], options: Namespace, options_type: type[OptionsT]) -> Job[OptionsT]:
    values = options.as_dict()
    training = {field.name: values[field.name] for field in fields(options_type)}
    for name in LISTS.keys() & training:
        training[name] = tuple(training[name] or ())
    if "://" not in training["data"]:
        # The run is used from other folders than the one it was started in.
        training["data"] = str(Path(training["data"]).absolute())
    model_options = {name: value for name, value in values["model"].items() if name != "name"}
    if empty := [name for name, value in {**training, **model_options}.items() if value is None]:
        raise UserError(f"{', '.join(empty)} must have a value")
    try:
        config = entry.config_type(in_channels=POSITION_CHANNELS, out_channels=1, **model_options)
    except ValueError as error:
        raise UserError(f"--model: {error}") from error
    if getattr(config, "condition_channels", 0):
        raise UserError("--model.condition_channels must be 0: a store has no scalars of a case to train on")
    return Job(
        entry.name,
        model_options,
        options_type(**training),
        Path(options.output),
        options.resume,
        options.quiet,
        options.verbose,
    )
