"""What the README shows runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lpbf_dataset.build import BuildOptions, build_store
from lpbf_dataset.sources.netfabb import NetfabbSource

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_python_block_runs(step2, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    build_store([NetfabbSource(step2)], Path("out/demo.zarr"), BuildOptions())
    (block,) = blocks("python")
    exec(compile(block, str(README), "exec"), {})  # noqa: S102
    assert Path("case.vtu").stat().st_size > 0
    assert "step2" in capsys.readouterr().out


def test_pictures_and_links_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert targets
    missing = [target for target in targets if "://" not in target and not (README.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("command", ["lpbf-build", "lpbf-simulate", "lpbf-info", "lpbf-train", "lpbf-view"])
def test_every_command_is_explained(command):
    assert f"**`{command} " in README.read_text(encoding="utf-8")
