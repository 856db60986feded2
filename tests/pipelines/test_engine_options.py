from __future__ import annotations

import inspect

import pytest
from jsonargparse import ArgumentParser

from lpbf_dataset.engine import open_engine
from pipelines.engine_options import add_engine_options, engine_options


@pytest.fixture
def parser():
    parser = ArgumentParser()
    add_engine_options(parser, "case", "part")
    return parser


def test_defaults_are_those_of_the_engine(parser):
    parameters = inspect.signature(open_engine).parameters.values()
    assert engine_options(parser.parse_args([]), "part") == {one.name: one.default for one in parameters}


def test_each_kind_of_item_has_its_time(parser):
    options = parser.parse_args(
        ["--workers=3", "--memory_limit=4 GiB", "--case_timeout=9", "--part_timeout=99.5"]
    )
    common = {"workers": 3, "scheduler": "", "memory_limit": "4 GiB"}
    assert engine_options(options, "case") == common | {"timeout": 9.0}
    assert engine_options(options, "part") == common | {"timeout": 99.5}


def test_the_scheduler_is_handed_over(parser):
    options = parser.parse_args(["--scheduler=tcp://node7:8786"])
    assert engine_options(options, "case")["scheduler"] == "tcp://node7:8786"


@pytest.mark.parametrize(
    "argument", ["--workers=0", "--workers=2.5", "--case_timeout=0", "--part_timeout=-1"]
)
def test_what_is_not_positive_is_refused(argument, parser, capsys):
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args([argument])
    assert stopped.value.code == 2
    assert argument.partition("=")[0].strip("-") in capsys.readouterr().err
