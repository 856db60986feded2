"""The viewer in a browser: drawn here, shown there."""

from viz.web.app import WebViewer
from viz.web.server import serve

__all__ = ["WebViewer", "serve"]
