"""Keeps pages of other sites away: a browser lets any of them open a WebSocket to this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# Where trame's page asks for a session before it turns to its own server.
_LAUNCHER = "/paraview/"


def guard(*, local_only: bool) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """Make the middleware of the server.

    Parameters
    ----------
    local_only : bool
        Whether the server listens on this machine alone.  Requests to it by another name are refused then:
        that name was pointed here by somebody else (DNS rebinding).
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return web.Response(status=403, text="pages of other sites may not connect\n")
        if local_only and urlsplit(f"//{request.host}").hostname not in LOOPBACK:
            return web.Response(status=403, text="open the viewer by the name localhost\n")
        if request.method == "POST" and request.path == _LAUNCHER:
            return web.json_response({"sessionURL": "ws://USE_HOST/ws"})
        return await handler(request)

    return check
