"""One file that shows a part in any browser, to be turned and zoomed, without server or network."""

from __future__ import annotations

import html
import json
import zipfile
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from trame_vtk.modules.vtk.serializers import (
    SynchronizationContext,
    extract_array_hash,
    initialize_serializers,
    reference_id,
    serialize,
)
from trame_vtk.tools.vtksz2html import write_html

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viz.contents import Colouring, Content
    from viz.live import LiveScene

# The scripts are in the file; nothing may be fetched, whatever the viewer inside would like.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; worker-src blob:; connect-src data: blob:"
)
# vtk.js would fetch its icon from its home page.
_FAVICON = "https://kitware.github.io/vtk-js/icon/favicon-"
_STYLE = """
.content { position: absolute; inset: 0; }
#writing { position: absolute; inset: 0; display: flex; pointer-events: none; z-index: 2; color: #222;
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; text-align: center; }
#writing > div { flex: 1; display: flex; flex-direction: column; padding: 12px 4px; white-space: nowrap; }
#writing h1, #writing p { font-size: inherit; font-weight: normal; margin: 0; min-height: 1.5em; }
#writing .bar { height: 16px; margin: 0 18%; }
#writing .ticks { display: flex; justify-content: space-between; margin: 0 15%; }
#writing .note { color: #606060; }
"""
_TICKS = 5
_GRADIENT_STOPS = 33


def scene_html(scene: LiveScene) -> str:
    """Write what a scene shows as a page of its own.

    Parameters
    ----------
    scene : LiveScene
        After its first `show`.

    Returns
    -------
    str
        About 1.5 MB more than the surface itself, most of it the script that draws.
    """
    page = StringIO()
    with scene.for_vtk_js():
        write_html(_archive(scene), page)
    title = html.escape(", ".join(content.heading for content in scene.contents if content.heading))
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>{title}</title>'
        f"<style>{_STYLE}</style>"
    )
    text = page.getvalue()
    before, _, rest = text.partition("<title>")
    rest = rest.partition("</title>")[2]
    text = before + head + rest.replace(_FAVICON, "data:,#")
    return text.replace("<body>", f'<body><div class="content"></div>{_writing(scene.contents)}', 1)


def _archive(scene: LiveScene) -> bytes:
    """Scene as vtk.js reads it: ``index.json`` in a ZIP."""
    initialize_serializers()
    context = SynchronizationContext()
    # All of it, whatever was written before.
    context.set_ignore_last_dependencies(True)
    window = scene.window
    state = serialize(None, window, reference_id(window), context, 1)
    camera = scene.plotter.renderers[0].camera
    state["extra"] = {
        "vtkRefId": reference_id(window),
        "centerOfRotation": camera.focal_point,
        "camera": reference_id(camera),
    }
    arrays = {
        entry["hash"]: {**entry, "content": context.get_cached_data_array(entry["hash"], False)}
        for entry in extract_array_hash(state)
    }
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.json", json.dumps({"hashes": arrays, "scene": state}))
    return packed.getvalue()


def _writing(contents: Sequence[Content]) -> str:
    """Headings above the panels and colour bars below them."""
    panels = "".join(
        f"<div><h1>{html.escape(content.heading)}</h1><p>{html.escape(content.caption)}</p>"
        f'<p style="flex: 1"></p>{_bar(content.colouring)}'
        f'<p class="note">{html.escape(content.note)}</p></div>'
        for content in contents
    )
    return f'<div id="writing">{panels}</div>'


def _bar(colouring: Colouring | None) -> str:
    if colouring is None:
        return ""
    stops = colormaps[colouring.scale.cmap](np.linspace(0, 1, _GRADIENT_STOPS), bytes=True)
    gradient = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue, _ in stops)
    ticks = "".join(f"<span>{value:.4g}</span>" for value in np.linspace(*colouring.scale.limits, _TICKS))
    return (
        f"<p>{html.escape(colouring.title)}</p>"
        f'<div class="ticks">{ticks}</div>'
        f'<div class="bar" style="background: linear-gradient(to right, {gradient})"></div>'
    )
