"""Options: help, precedence, and what users get wrong."""

from __future__ import annotations

import pytest
import yaml

from pipelines.runs.models import MODELS
from pipelines.training.options import TrainOptions
from pipelines.training.parsing import parse_job


def parse(*arguments):
    return parse_job(MODELS["flare"], ["--data=s.zarr", "-orun", *map(str, arguments)])


@pytest.fixture
def config(tmp_path):
    """Return a function that writes a YAML file."""

    def write(text, name="c.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_the_default_recipe_is_the_published_recipe():
    training = parse().training
    assert training == TrainOptions(data=training.data)
    assert training == parse("--recipe=lpbf").training
    assert (training.epochs, training.batch_size, training.learning_rate) == (250, 1, 1e-3)
    assert training.coordinate_scale == (30.0, 30.0, 60.0)


def test_options_beat_files_and_files_beat_the_recipe(config):
    file = config("epochs: 7\nbatch_size: 3\nmodel: {channels: 16}\n")
    for arguments in (
        ["--batch_size=2", "--config", file, "--recipe=tiny"],
        ["--recipe=tiny", f"--config={file}", "--batch_size=2"],
    ):
        job = parse(*arguments)
        assert (job.training.epochs, job.training.batch_size) == (7, 2)
        assert job.training.weight_decay == 0.0
        assert job.model_options["channels"] == 16
        assert job.model_options["num_latents"] == 32


def test_a_later_file_beats_an_earlier_one(config):
    first, second = config("epochs: 7\nseed: 5\n", "a.yaml"), config("epochs: 8\n", "b.yaml")
    training = parse("--config", first, "--config", second).training
    assert (training.epochs, training.seed) == (8, 5)


def test_a_file_may_choose_the_recipe(config):
    assert parse("--config", config("recipe: tiny\n")).training.weight_decay == 0.0


def test_everything_may_stand_in_a_file(config):
    file = config("data: s.zarr\noutput: run\ntargets: [von_mises_stress]\ncoordinate_scale: [1, 2, 3]\n")
    job = parse_job(MODELS["flare"], ["--config", str(file)])
    assert job.training.targets == ("von_mises_stress",)
    assert job.training.coordinate_scale == (1.0, 2.0, 3.0)


def test_lists_are_words():
    job = parse(
        "--targets", "displacement", "von_mises_stress", "--coordinate_scale", 1, 2, 3, "--betas", 0.8, 0.9
    )
    assert job.training.targets == ("displacement", "von_mises_stress")
    assert job.training.coordinate_scale == (1.0, 2.0, 3.0)
    assert job.training.betas == (0.8, 0.9)


def test_the_stored_configuration_gives_the_same_job(config):
    job = parse("--recipe=tiny", "--targets", "displacement", "--seed=3")
    file = config(yaml.safe_dump(job.config()))
    assert parse_job(MODELS["flare"], ["--config", str(file), "-orun"]) == job


def test_a_printed_configuration_can_be_used(command, config):
    outcome = command("flare", "--data=s.zarr", "-orun", "--recipe=tiny", "--print_config")
    assert outcome.code == 0
    printed = config(outcome.out)
    assert parse_job(MODELS["flare"], ["--config", str(printed)]) == parse("--recipe=tiny")


def test_a_relative_store_is_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse().training.data == str(tmp_path / "s.zarr")
    assert parse("--data=s3://bucket/s.zarr").training.data == "s3://bucket/s.zarr"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_without_a_model_lists_the_models(command, arguments):
    outcome = command(*arguments)
    assert outcome.code == 0
    assert all(name in outcome.out for name in MODELS)


def test_help_of_a_model_shows_its_options(command):
    outcome = command("flare", "--help")
    assert outcome.code == 0
    for option in ("--data", "--epochs", "--targets", "--resume", "--recipe", "--model.num_latents"):
        assert option in outcome.out
    assert "--model.in_channels" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flair", "--data=s"], "no model named 'flair'; did you mean 'flare'?"),
        (["--data=s", "flare"], "the model comes first"),
        (["flare", "-orun"], "data"),
        (["flare", "--data=s"], "output"),
        (["flare", "--data=s", "-orun", "--epoch=3"], "epoch"),
        (["flare", "--data=s", "-orun", "--epochs=three"], "epochs"),
        (["flare", "--data=s", "-orun", "--epochs=0"], "--epochs must be positive"),
        (["flare", "--data=s", "-orun", "--batch_size=-1"], "--batch_size must be positive"),
        (["flare", "--data=s", "-orun", "--learning_rate=nan"], "learning_rate"),
        (["flare", "--data=s", "-orun", "--weight_decay=-1"], "--weight_decay must not be negative"),
        (["flare", "--data=s", "-orun", "--ema_decay=1"], "--ema_decay must be at least 0 and less than 1"),
        (["flare", "--data=s", "-orun", "--betas", "0.9", "1"], "--betas must be at least 0 and less than 1"),
        (["flare", "--data=s", "-orun", "--warmup_fraction=2"], "--warmup_fraction must be between 0 and 1"),
        (["flare", "--data=s", "-orun", "--initial_divisor=0.5"], "--initial_divisor must be at least 1"),
        (["flare", "--data=s", "-orun", "--coordinate_scale", "1", "0", "1"], "--coordinate_scale"),
        (["flare", "--data=s", "-orun", "--targets", "warp"], "no field named 'warp'; known fields:"),
        (["flare", "--data=s", "-orun", "--recipe=huge"], "no recipe named 'huge' for flare; there are lpbf"),
        (["flare", "--data=s", "-orun", "--model.num_heads=7"], "num_heads=7 must divide channels=64"),
        (
            ["flare++", "--data=s", "-orun", "--model.condition_channels=2"],
            "--model.condition_channels must be 0: a store has no scalars of a case",
        ),
        (["flare", "--data=s", "-orun", "--accelerator=tpu"], "accelerator"),
        (["flare", "--data=s", "-orun", "--config=none.yaml"], "cannot read none.yaml"),
        (["flare", "--config"], "expected one argument"),
        (["flare", "--data=nowhere.zarr", "-orun"], "nowhere.zarr"),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = command(*arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3\n", "c.yaml: there is no option 'epoch'; did you mean 'epochs'?"),
        (
            "model: {chanels: 8}\n",
            "c.yaml: there is no option 'model.chanels'; did you mean 'model.channels'?",
        ),
        ("model: {name: pointnet}\n", "model.name"),
        ("model: 3\n", "model"),
        ("epochs: many\n", "epochs"),
        ("recipe: huge\n", "no recipe named 'huge'"),
        ("just text\n", "c.yaml holds no options"),
        ("", "c.yaml holds no options"),
        ("epochs: [\n", "c.yaml is not YAML"),
        ("3: 4\n", "c.yaml: there is no option"),
        ("config: other.yaml\n", "there is no option 'config'"),
        ("epochs: null\n", "epochs"),
        ("!!python/object/apply:os.mkdir [executed]\n", "c.yaml is not YAML"),
    ],
)
def test_mistakes_in_files_are_one_line(command, config, tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    outcome = command("flare", "--data=s", "-orun", "--config", config(text))
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "executed").exists()


def test_more_devices_than_cases(command, store, tmp_path):
    outcome = command("flare", "--data", store, "-o", tmp_path / "run", "--accelerator=cpu", "--devices=2")
    assert outcome.code == 2
    assert "only 1 validation cases" in outcome.err


def test_an_accelerator_that_is_not_there(command, store, tmp_path):
    outcome = command("flare", "--data", store, "-o", tmp_path / "run", "--accelerator=mps")
    assert outcome.code == 2
    assert "--accelerator mps" in outcome.err
