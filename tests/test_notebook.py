"""The notebook runs from a store to a prediction, and shows it."""

from __future__ import annotations

import base64
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "from_store_to_prediction.ipynb"

SMALL = "PARTS, STEPS = 7, 20"
SECONDS_PER_CELL = 300


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook: NotebookNode, tag: str) -> list[NotebookNode]:
    return [cell for cell in code_cells(notebook) if tag in cell.metadata.get("tags", [])]


def pictures(cell: NotebookNode) -> list[np.ndarray]:
    shown = [output.data for output in cell.outputs if "data" in output]
    encoded = [data["image/png"] for data in shown if "image/png" in data]
    return [
        np.asarray(Image.open(BytesIO(base64.b64decode(text))).convert("RGB"), np.int16) for text in encoded
    ]


def test_it_is_kept_without_outputs():
    cells = code_cells(nbformat.read(NOTEBOOK, as_version=4))
    assert [cell for cell in cells if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
def test_it_runs_and_shows_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = tagged(notebook, "parameters")
    settings.source = SMALL
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=SECONDS_PER_CELL, resources=resources).execute()

    cells = tagged(notebook, "picture")
    assert len(cells) == 3
    for cell in cells:
        (image,) = pictures(cell)
        coloured = np.ptp(image, axis=2) > 40
        assert coloured.mean() > 0.02, cell.source
    assert len(list((tmp_path / "out" / "notebook").glob("*.vtu"))) == 1
