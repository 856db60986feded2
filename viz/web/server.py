"""Serving the page: where it is, and who can reach it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from viz.rendering import RenderingError
from viz.web.app import WebViewer
from viz.web.guard import LOOPBACK, guard

if TYPE_CHECKING:
    from viz.viewer import Viewer

LOCALHOST = "127.0.0.1"
DEFAULT_PORT = 8080

# trame reads the arguments of the process unless this variable gives it others.
_TRAME_ARGUMENTS = "TRAME_ARGS"


def serve(viewer: Viewer, host: str = LOCALHOST, port: int = DEFAULT_PORT) -> None:
    """Serve a viewer until interrupted.

    Parameters
    ----------
    viewer : Viewer
        On a scene that is drawn off-screen.
    host : str, optional
        Address to listen on; by default this machine alone can connect.
    port : int, optional
        Port; 0 for any that is free.

    Raises
    ------
    RenderingError
        If nothing can listen there.
    """
    _require_free(host, port)
    os.environ[_TRAME_ARGUMENTS] = "--server"
    os.environ["WSLINK_READY_MSG"] = ""
    app = WebViewer(viewer)
    app.server.controller.on_server_ready.add(lambda **_: announce(host, app.server.port))
    local_only = host in LOOPBACK
    app.server.controller.on_server_bind.add(
        lambda server: server.app.middlewares.append(guard(local_only=local_only))
    )
    app.server.start(
        host=host,
        port=port,
        open_browser=False,
        show_connection_info=False,
        disable_logging=True,
        timeout=0,
    )


def announce(host: str, port: int) -> None:
    """Print where the page is, and how to reach it from elsewhere."""
    shown = "localhost" if host in LOOPBACK | {"0.0.0.0"} else host  # noqa: S104  (compared, not bound)
    print(f"the viewer is at http://{shown}:{port}/ (stop it by Ctrl-C)", flush=True)  # noqa: T201
    if host in LOOPBACK:
        print(  # noqa: T201
            f"from another machine: ssh -L {port}:localhost:{port} {socket.gethostname()}, "
            "then the same address there",
            flush=True,
        )
    else:
        print(  # noqa: T201
            f"warning: whoever can reach {host}:{port} can see and steer it; there is no password", flush=True
        )


def _require_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RenderingError(f"cannot listen on {host}:{port}: {reason}; choose another --port") from error
