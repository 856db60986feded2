"""The files that ``lpbf-view`` writes: pictures, pages, films and figures."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipelines.console import UserError

if TYPE_CHECKING:
    from jsonargparse import Namespace
    from matplotlib.figure import Figure

    from viz.viewer import Viewer

FILES = ("screenshot", "export_html", "film", "plot")
"""Options that name a file to write."""


PLOT_SUFFIXES = (".png", ".svg", ".pdf")
PLOT_DPI = 120


def check_outputs(options: Namespace, size: tuple[int, int] | None, *, in_window: bool) -> None:
    """Check, before anything is read, that what is asked for can be shown or written.

    Parameters
    ----------
    options : Namespace
        Of the command.
    size : (int, int) or None
        Pixels of the pictures, where the user has chosen them.
    in_window : bool
        Whether a window is to open.

    Raises
    ------
    UserError, RenderingError
        If not.
    """
    from viz.animation import DEFAULT_SIZE, check_movie
    from viz.rendering import check_image_path, require_display

    if in_window:
        require_display()
        return
    if options.screenshot is not None:
        check_image_path(options.screenshot)
    if options.film is not None:
        check_movie(options.film, size or DEFAULT_SIZE)
    plot, page = options.plot, options.export_html
    if plot is not None and (plot.suffix.lower() not in PLOT_SUFFIXES or plot.is_dir()):
        raise UserError(f"--plot {plot}: expected the name of a file that ends in {', '.join(PLOT_SUFFIXES)}")
    if page is not None and (page.suffix.lower() not in (".html", ".htm") or page.is_dir()):
        raise UserError(f"--export-html {page}: expected the name of a file that ends in .html")
    if (options.web or page is not None) and importlib.util.find_spec("trame_vtk") is None:
        raise UserError("--web and --export-html need trame: pip install 'lpbf-toolkit[web]'")


def write_files(viewer: Viewer, options: Namespace, size: tuple[int, int] | None) -> None:
    """Write the files that the options ask for; `size` as of `check_outputs`."""
    from viz.rendering import replacing, save_image

    if options.screenshot is not None:
        save_image(viewer.scene.image(), options.screenshot)
    if options.export_html is not None:
        from viz.html import scene_html

        with replacing(options.export_html) as unfinished:
            unfinished.write_text(scene_html(viewer.scene), encoding="utf-8")
    if options.film is not None:
        from viz.animation import animate_build
        from viz.subjects import ResultsSubject

        subject = viewer.subject
        if isinstance(subject, ResultsSubject):
            # The plate is many times as large as most parts.
            subject = ResultsSubject(subject.name, plate=False)
        animate_build(subject, viewer.case_name, viewer.look, options.film, size=size, quiet=options.quiet)
    if options.plot is not None:
        figure = build_plot(viewer, chosen=options.field is not None, quiet=options.quiet)
        with replacing(options.plot) as unfinished:
            figure.savefig(unfinished, dpi=PLOT_DPI)
    for path in (getattr(options, name) for name in FILES):
        if path is not None and not options.quiet:
            print(f"wrote {path}")


def build_plot(viewer: Viewer, *, chosen: bool, quiet: bool) -> Figure:
    """Draw the case that a viewer shows over its build, with what a model predicts where there is one.

    Parameters
    ----------
    viewer : Viewer
        On the case.
    chosen : bool
        Whether to draw the field that it shows, rather than the distortion where that is known.
    quiet : bool
        Show no progress.

    Raises
    ------
    SubjectError, SceneError
        If the case has no steps, or they cannot be drawn.
    """
    from viz.build_plot import DISTORTION, build_figure
    from viz.subjects import BuildSubject

    subject, name, look = viewer.subject, viewer.case_name, viewer.look
    case = subject.build(name)
    is_predicted = all(f"{DISTORTION}_{axis}" in subject.predicted for axis in "xyz")
    if chosen or (look.compare and not is_predicted):
        field = viewer.part.field(look.field).scalar_name(look.component)
    else:
        field = DISTORTION
    if not isinstance(subject, BuildSubject):
        return build_figure(case, field)
    count = len(subject.step_labels(name))
    bar = tqdm(subject.predictions(name), desc="predicting", total=count, unit="step", disable=quiet)
    return build_figure(case, field, bar)
