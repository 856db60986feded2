"""Pictures of predictions, drawn in a process of their own.

A driver of OpenGL may abort or hang, and neither may take a finished training with it.
"""

from __future__ import annotations

import importlib.util
import logging
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pyvista as pv
    from numpy.typing import NDArray

    from lpbf_dataset import Case

SECONDS_TO_START = 60.0
SECONDS_PER_PICTURE = 30.0
"""Far more than it takes with a software renderer: a second at 50,000 nodes."""

COMMAND = (sys.executable, "-m", __name__)

logger = logging.getLogger(__name__)


class Drawing(Protocol):
    """What to draw; picklable."""

    @property
    def path(self) -> Path:
        """PNG to write."""

    def scene(self) -> pv.Plotter:
        """Return what it shows; raises `viz.checks.SceneError` if it cannot be drawn as it is."""


class Picture(NamedTuple):
    """Truth, prediction and error of one field of a case.

    Parameters
    ----------
    case : Case
        With points, cells and the true fields.
    field : str
        Which of the predicted fields.
    prediction : mapping of str to (nodes,) ndarray
        All of them, as `viz.compare.comparison_scene` takes them.
    path : Path
        PNG to write.
    """

    case: Case
    field: str
    prediction: Mapping[str, NDArray[np.floating]]
    path: Path

    def scene(self) -> pv.Plotter:
        """Return the three panels."""
        from viz.compare import comparison_scene

        return comparison_scene(self.case, self.field, self.prediction)


def draw(pictures: Sequence[Drawing]) -> None:
    """Draw pictures if it can be done here; a log line tells if not."""
    if not pictures:
        return
    if importlib.util.find_spec("pyvista") is None:
        logger.warning("no pictures of predictions: PyVista is missing (pip install 'lpbf-toolkit[viz]')")
        return
    limit = SECONDS_TO_START + SECONDS_PER_PICTURE * len(pictures)
    try:
        done = subprocess.run(  # noqa: S603
            COMMAND, input=pickle.dumps(list(pictures)), capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        logger.warning("no pictures of predictions, or not all: drawing took more than %.0f s", limit)
        return
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        reason = lines[-1] if lines else f"the process that draws ended with code {done.returncode}"
        logger.warning("no pictures of predictions, or not all: %s", reason)


def draw_here(pictures: Sequence[Drawing]) -> list[str]:
    """Draw what can be drawn in this process, and return what hindered the rest."""
    from viz.checks import SceneError
    from viz.rendering import RenderingError, prepare_offscreen, save_screenshot

    problems = []
    try:
        prepare_offscreen()
        for picture in pictures:
            try:
                scene = picture.scene()
            except SceneError as error:
                problems.append(str(error))
                continue
            save_screenshot(scene, picture.path)
            scene.close()
    except RenderingError as error:
        problems.append(str(error))
    return problems


if __name__ == "__main__":
    # Nobody's but the process that has just started this one.
    sys.exit("; ".join(draw_here(pickle.load(sys.stdin.buffer))) or None)  # noqa: S301
