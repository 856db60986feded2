"""What the README shows runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource

README = Path(__file__).parents[1] / "README.md"


COMMANDS = tomllib.loads((README.parent / "pyproject.toml").read_text())["project"]["scripts"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_python_blocks_run_one_after_another(step2, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build_store([NetfabbSource(step2)], Path("out/demo.zarr"), BuildOptions())
    build_store([NetfabbSource(step2)], Path("out/steps.zarr"), BuildOptions(steps="all"))
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), names)  # noqa: S102
    assert Path("case.vtu").stat().st_size > 0
    assert "step2" in capsys.readouterr().out


def test_pictures_and_links_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    missing = [target for target in targets if "://" not in target and not (README.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_explained(command):
    assert f"**`{command} " in README.read_text(encoding="utf-8")
