"""The page: controls and what is known at a node in a drawer, the picture beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vtk as vtk_widgets
from trame.widgets import vuetify3 as v3

if TYPE_CHECKING:
    from collections.abc import Callable

    from viz.web.app import WebViewer

_THEME = {
    "theme": {
        "defaultTheme": "lpbf",
        "themes": {"lpbf": {"dark": False, "colors": {"primary": "#24527a", "error": "#b3261e"}}},
    }
}
_STYLE = """
html { overflow: hidden; }
.cases { border: 1px solid #ccc; border-top: 0; font-size: 0.85rem; }
.control-label { font-size: 0.8rem; font-weight: 600; color: #444; display: flex; align-items: center; }
.readings td { padding: 1px 10px 1px 0; font-size: 0.8rem; vertical-align: top; }
.readings td:first-child { color: #555; }
.readings td:last-child { font-variant-numeric: tabular-nums; }
"""
_FOUND = "cases.filter(name => name.toLowerCase().includes((case_search || '').toLowerCase()))"
_COMPACT = {"density": "compact", "hide_details": True, "variant": "outlined"}
_SLIDER = {"density": "compact", "hide_details": True, "color": "primary", "thumb_size": 14}


def build_layout(app: WebViewer) -> Callable[[], None]:
    """Build the page of a viewer.

    Parameters
    ----------
    app : WebViewer
        What its controls do.

    Returns
    -------
    callable
        Sends a new picture to it.
    """
    server = app.server
    server.state.update({"trame__title": "lpbf-view", "drawer": True, "case_search": ""})
    with VAppLayout(server, vuetify_config=_THEME, theme="lpbf"):
        client.Style(_STYLE)
        with v3.VAppBar(density="compact", color="primary", flat=True):
            v3.VAppBarNavIcon(click="drawer = !drawer", aria_label="controls")
            v3.VAppBarTitle("{{ subject_name }}", classes="text-body-1")
            v3.VSpacer()
            _button("mdi-fit-to-page-outline", "whole part", app.reset_camera, "reset-camera")
            _button(
                "mdi-camera",
                "save a picture",
                "utils.download(`${case_name}.png`, trigger('screenshot'), 'image/png')",
                "screenshot",
            )
            v3.VProgressLinear(
                indeterminate=True, absolute=True, location="bottom", active=("trame__busy",), color="white"
            )
        server.trigger("screenshot")(lambda: server.protocol.addAttachment(app.screenshot()))
        with (
            v3.VNavigationDrawer(v_model=("drawer",), width=320, permanent=("drawer",)),
            html.Div(classes="pa-4 d-flex flex-column", style="gap: 14px"),
        ):
            _case_controls(app)
            _field_controls()
            _warp_controls(app)
            _cut_controls()
            _switch("edges", "Edges of cells")
            _switch("compare", "Compare with prediction", v_if="can_compare")
            _node_readings()
        with v3.VMain(style="height: 100vh"):
            view = vtk_widgets.VtkRemoteView(
                app.viewer.scene.window, interactive_ratio=1, interactive_quality=70
            )
        v3.VSnackbar(
            "{{ message }}",
            v_model=("message_shown",),
            color="error",
            timeout=10_000,
            location="top",
            classes="failure",
        )
    return view.update


def _button(icon: str, tip: str, click: object, name: str) -> None:
    v3.VBtn(icon=icon, click=click, title=tip, aria_label=tip, id=name)


def _label(text: str, value: str = "") -> None:
    with html.Div(classes="control-label"):
        html.Span(text)
        v3.VSpacer()
        html.Span(value, style="font-weight: 400")


def _switch(name: str, label: str, **extra: str) -> None:
    v3.VSwitch(
        v_model=(name,), label=label, id=name, density="compact", hide_details=True, color="primary", **extra
    )


def _case_controls(app: WebViewer) -> None:
    with html.Div():
        v3.VTextField(
            v_model=("case_search",),
            label=("`Search in ${cases.length} cases`",),
            prepend_inner_icon="mdi-magnify",
            clearable=True,
            id="case-search",
            v_if="cases.length > 1",
            **_COMPACT,
        )
        with (
            v3.VVirtualScroll(
                items=(_FOUND,),
                height=152,
                item_height=30,
                classes="cases",
                v_if=f"cases.length > 1 && {_FOUND}.length",
            ),
            v3.Template(v_slot_default="{ item }"),
        ):
            v3.VListItem(
                "{{ item }}",
                active=("item === case_name",),
                click="case_name = item",
                density="compact",
                color="primary",
                min_height=30,
            )
        html.Div(
            "no case of that name", v_if=f"cases.length > 1 && !{_FOUND}.length", classes="text-caption pa-2"
        )
        with html.Div(classes="d-flex align-center mt-1", v_if="cases.length > 1"):
            v3.VBtn(
                "previous", variant="text", size="small", click=lambda: app.move_case(-1), id="previous-case"
            )
            v3.VSpacer()
            v3.VBtn("next", variant="text", size="small", click=lambda: app.move_case(1), id="next-case")
        html.Div(
            "{{ case_name }}, {{ nodes.toLocaleString('en') }} nodes",
            classes="text-caption text-medium-emphasis mt-1",
            id="case",
        )
    with html.Div(v_if="steps.length > 1"):
        _label("Step", "{{ steps[step] }}")
        v3.VSlider(
            v_model=("step",), min=0, max=("steps.length - 1",), step=1, id="step", classes="step", **_SLIDER
        )


def _field_controls() -> None:
    v3.VSelect(
        v_model=("field",),
        items=("fields",),
        label="Field",
        id="field",
        v_if="fields.length",
        **_COMPACT,
    )
    html.Div("The file has no field on its nodes.", classes="text-caption", v_else=True)
    v3.VSelect(
        v_model=("component",),
        items=("components",),
        label="Component",
        id="component",
        v_if="components.length",
        **_COMPACT,
    )


def _warp_controls(app: WebViewer) -> None:
    with html.Div(v_if="can_warp"):
        _label("Deformation", "\N{MULTIPLICATION SIGN} {{ Number(warp.toPrecision(3)) }}")
        v3.VSlider(
            v_model=("warp",),
            min=0,
            max=("warp_limit",),
            step=("warp_limit / 60",),
            classes="warp",
            **_SLIDER,
        )
        with html.Div(classes="d-flex"):
            v3.VBtn("none", variant="text", size="small", click="warp = 0")
            v3.VBtn("true", variant="text", size="small", click="warp = 1")
            v3.VSpacer()
            v3.VBtn("automatic", variant="text", size="small", click=app.automatic_warp, id="automatic-warp")


def _cut_controls() -> None:
    with html.Div():
        _label("Cut")
        with v3.VBtnToggle(
            v_model=("cut_axis",),
            mandatory=True,
            density="compact",
            variant="outlined",
            divided=True,
            color="primary",
            classes="mt-1",
            id="cut",
        ):
            for axis in ("", "x", "y", "z"):
                v3.VBtn(axis or "none", value=axis, size="small")
        v3.VSlider(
            v_model=("cut_at",), min=0, max=1, step=0.02, id="cut-at", disabled=("!cut_axis",), **_SLIDER
        )


def _node_readings() -> None:
    with html.Div():
        _label("Node")
        with (
            html.Table(classes="readings", id="readings", v_if="readings.length"),
            html.Tr(v_for="(reading, i) in readings", key="i"),
        ):
            html.Td("{{ reading.label }}")
            html.Td("{{ reading.text }}")
        html.Div(
            "Click on the part to read the values of a node.",
            v_else=True,
            classes="text-caption text-medium-emphasis",
        )
