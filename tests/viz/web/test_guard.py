from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from viz.web.guard import guard


def ask(headers: dict[str, str], *, local_only: bool = True, method: str = "GET", path: str = "/") -> int:
    """Return the status of a request to a guarded server."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    async def request() -> int:
        application = web.Application(middlewares=[guard(local_only=local_only)])
        application.router.add_get("/", answer)
        async with (
            TestClient(TestServer(application)) as client,
            client.request(method, path, headers=headers) as response,
        ):
            return response.status

    return asyncio.run(request())


@pytest.mark.parametrize(
    ("headers", "local_only", "status"),
    [
        ({"Host": "localhost:8080"}, True, 200),
        ({"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080"}, True, 200),
        ({"Host": "localhost:8080", "Origin": "http://elsewhere.example"}, True, 403),
        ({"Host": "localhost:8080", "Origin": "null"}, True, 403),
        ({"Host": "rebound.example:8080"}, True, 403),
        ({"Host": "server.example:8080"}, False, 200),
        ({"Host": "server.example:8080", "Origin": "http://elsewhere.example"}, False, 403),
    ],
)
def test_only_its_own_page_may_connect(headers: dict[str, str], status: int, *, local_only: bool) -> None:
    assert ask(headers, local_only=local_only) == status


def test_the_page_is_told_where_its_session_is() -> None:
    assert ask({"Host": "localhost"}, method="POST", path="/paraview/") == 200
