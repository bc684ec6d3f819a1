"""A door before a schema registry that lets nobody in without the right user and password."""

from __future__ import annotations

import base64

import aiohttp
from aiohttp import web


class RegistryDoor:
    """Listens on a port of its own, and hands on to `registry_url` what comes with basic authentication."""

    def __init__(self, registry_url: str, user: str, password: str) -> None:
        self._target = registry_url
        self._login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.requests = 0
        """Those that it has seen."""
        self.port = 0

    async def open(self) -> None:
        self._client = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers.get("Authorization") != self._login:
            return web.json_response({"error_code": 401, "message": "Unauthorized"}, status=401)
        async with self._client.request(
            request.method, f"{self._target}/{request.match_info['path']}", json=await request.json()
        ) as response:
            return web.Response(status=response.status, body=await response.read(), content_type="application/json")
