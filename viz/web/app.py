"""Between the controls of the page and the viewer: what moves there is done here, and the other way round."""

from __future__ import annotations

import secrets
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image
from trame.app import get_server

from viz.subjects.base import NO_COMPONENT, SubjectError
from viz.viewer import MAGNITUDE
from viz.web.layout import build_layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from trame_server.core import Server

    from viz.viewer import Viewer


class WebViewer:
    """The page of one viewer, which all who open it share.

    Parameters
    ----------
    viewer : Viewer
        On a scene that is drawn off-screen.
    server : Server, optional
        Of trame; a new one by default.
    """

    def __init__(self, viewer: Viewer, server: Server | None = None) -> None:
        self.viewer = viewer
        self.server = server or get_server(f"lpbf-view-{secrets.token_hex(4)}", client_type="vue3")
        self.state = self.server.state
        self._publish(message="", message_shown=False)
        self._connect()
        viewer.scene.on_click(self._click)
        self._update_view = build_layout(self)

    def screenshot(self) -> bytes:
        """Picture of the scene as PNG."""
        encoded = BytesIO()
        Image.fromarray(self.viewer.scene.image()).save(encoded, "PNG")
        return encoded.getvalue()

    def reset_camera(self) -> None:
        """Look at the whole part."""
        self.viewer.scene.reset_camera()
        self._update_view()

    def move_case(self, offset: int) -> None:
        """Look at the next case, or the one before."""
        self._do(lambda: self.viewer.move_case(offset))

    def automatic_warp(self) -> None:
        """Exaggerate as much as can be seen."""
        self._do(lambda: self.viewer.set_warp("auto"))

    def _connect(self) -> None:
        """Do with the viewer what changes on the page, but for what it was itself that changed it."""
        viewer = self.viewer

        def on(name: str, is_news: Callable[[Any], bool], change: Callable[[Any], None]) -> None:
            def react(**state: Any) -> None:
                value = state[name]
                if value is not None and is_news(value):
                    self._do(lambda: change(value))

            self.state.change(name)(react)

        on("case_name", lambda name: name != viewer.case_name, viewer.set_case)
        on("step", lambda step: int(step) != viewer.step, lambda step: viewer.set_step(int(step)))
        on("field", lambda name: name != viewer.look.field, viewer.set_field)
        on(
            "component",
            lambda name: bool(viewer.components) and _component(name) != viewer.look.component,
            lambda name: viewer.set_component(_component(name)),
        )
        on("warp", lambda factor: float(factor) != viewer.warp, lambda factor: viewer.set_warp(float(factor)))
        on("compare", lambda wanted: wanted != viewer.look.compare, viewer.set_compare)
        on("edges", lambda wanted: wanted != viewer.look.edges, viewer.set_edges)
        on(
            "cut_axis",
            lambda axis: axis != viewer.look.cut_axis,
            lambda axis: viewer.set_cut(axis, viewer.look.cut_at),
        )
        on(
            "cut_at",
            lambda place: float(place) != viewer.look.cut_at,
            lambda place: viewer.set_cut(viewer.look.cut_axis, float(place)),
        )

    def _do(self, change: Callable[[], None]) -> None:
        """Make a change; say so on the page if it cannot be made."""
        try:
            change()
        except SubjectError as error:
            self._publish(message=str(error), message_shown=True)
        else:
            self._publish()
        self._update_view()

    def _publish(self, **also: Any) -> None:
        """Bring the page up to date with the viewer."""
        viewer, look = self.viewer, self.viewer.look
        self.state.update(
            {
                "subject_name": viewer.subject.name,
                "cases": list(viewer.subject.case_names),
                "case_name": viewer.case_name,
                "steps": list(viewer.step_labels),
                "step": viewer.step,
                "fields": [{"title": n.replace("_", " "), "value": n} for n in viewer.field_names],
                "field": look.field,
                "components": [name or MAGNITUDE for name in viewer.components],
                "component": look.component or MAGNITUDE,
                "warp": viewer.warp,
                "warp_limit": max(viewer.warp_limit, viewer.warp),
                "can_warp": viewer.warp_limit > 0,
                "can_compare": viewer.can_compare,
                "compare": look.compare,
                "edges": look.edges,
                "cut_axis": look.cut_axis,
                "cut_at": look.cut_at,
                "nodes": viewer.part.node_count,
                "readings": [reading._asdict() for reading in viewer.readings],
                **also,
            }
        )

    def _click(self, x: int, y: int) -> None:
        self.viewer.pick(x, y)
        with self.state:
            self._publish()
        self._update_view()


def _component(name: str) -> str:
    return NO_COMPONENT if name == MAGNITUDE else name
