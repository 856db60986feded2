from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lpbf_dataset.export.files import MAX_NAME_BYTES, ExportError, check_case_id, written_whole

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "case_id", ["a", "21477_babb9c34_4", "Düse 部品 (7)", "a..b", "-x", "x" * MAX_NAME_BYTES]
)
def test_names_that_are_fine(case_id):
    check_case_id(case_id)


@pytest.mark.parametrize(
    "case_id",
    [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "C:a",
        ".hidden",
        "a.",
        " a",
        "a\0",
        "a\n",
        "\ud800",
        "\u202egpj",
        "é" * MAX_NAME_BYTES,
    ],
)
def test_names_that_could_lie_elsewhere(case_id):
    with pytest.raises(ExportError, match="cannot name a file"):
        check_case_id(case_id)


def write_and_fail(path: Path) -> None:
    with written_whole(path) as partial:
        partial.write_text("two")
        raise KeyboardInterrupt


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with written_whole(path) as partial:
        partial.write_text("one")
    assert path.read_text() == "one"
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(path)
    assert path.read_text() == "one"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("below", ["a", "a/b"])
def test_a_file_is_no_folder(tmp_path, below):
    (tmp_path / "a").touch()
    with pytest.raises(ExportError, match="is no folder"), written_whole(tmp_path / below / "c"):
        pass
