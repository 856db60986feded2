from __future__ import annotations

import pytest
import yaml

from pipelines.runs.models import MODELS
from pipelines.training.parsing import parse_job
from pipelines.training.recipe import FOLDER, recipes_of

RECIPES = [(model, recipe) for model in MODELS for recipe in recipes_of(model)]


def parse(model, *arguments):
    return parse_job(MODELS[model], ["--data=s.zarr", "-orun", *arguments])


@pytest.mark.parametrize(("model", "recipe"), RECIPES)
def test_every_recipe_is_what_its_model_starts_from(model, recipe):
    values = {}
    for path in recipes_of(model)[recipe]:
        values |= yaml.safe_load(path.read_text())
    config = parse(model, f"--recipe={recipe}").config()
    sizes = values.pop("model", {})
    assert sizes.items() <= config["model"].items()
    assert {name: config[name] for name in values} == values


def test_every_file_belongs_to_a_model():
    assert set(FOLDER.iterdir()) == {
        path for model in MODELS for paths in recipes_of(model).values() for path in paths
    }


def test_every_model_has_the_recipes_for_all():
    assert all({"lpbf", "tiny"} <= set(recipes_of(model)) for model in MODELS)


def test_every_file_names_its_source():
    for path in FOLDER.glob("paper.*.yaml"):
        assert "github.com/" in path.read_text().partition("\nepochs")[0]


def test_a_recipe_of_some_models_is_not_there_for_others(command):
    outcome = command("gat", "--data=s", "-orun", "--recipe=paper")
    assert outcome == (2, "", "error: no recipe named 'paper' for gat; there are lpbf, small, tiny\n")


@pytest.mark.parametrize("typo", ["papr", "Paper"])
def test_the_nearest_recipe_is_suggested(command, typo):
    outcome = command("lno", "--data=s", "-orun", f"--recipe={typo}")
    assert outcome.code == 2
    assert f"no recipe named {typo!r} for lno; did you mean 'paper'?; there are" in outcome.err


def test_the_printed_configuration_shows_the_recipe(command):
    outcome = command(
        "upt", "--data=s.zarr", "-orun", "--recipe=paper", "--schedule=constant", "--print_config"
    )
    assert outcome.code == 0
    printed = yaml.safe_load(outcome.out)
    assert (printed["learning_rate"], printed["batch_size"], printed["schedule"]) == (5e-4, 32, "constant")
