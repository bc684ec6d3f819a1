"""The command line's way to a worker's web port."""

from __future__ import annotations

from typing import Any

import aiohttp

from streams.cli.run import USAGE, CliError
from streams.settings import without_login
from streams.text import one_line

SECONDS = 8.0


async def ask(url: str, path: str, help: str) -> tuple[str, int, bytes]:
    """The full URL, status and body of a worker's answer. Raises `CliError` with 2, and `help` in it, for none."""
    return await _request("GET", url, path, help, SECONDS)


async def post(url: str, path: str, help: str, body: Any, seconds: float = SECONDS) -> tuple[str, int, bytes]:
    """Likewise, what it answers to a JSON body."""
    return await _request("POST", url, path, help, seconds, json=body)


async def _request(
    method: str, url: str, path: str, help: str, seconds: float, **options: Any
) -> tuple[str, int, bytes]:
    asked = f"{url.rstrip('/')}{path}"
    where = without_login(asked)
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, asked, **options) as response,
        ):
            return where, response.status, await response.read()
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise CliError(USAGE, f"--url {without_login(url)} is not a URL like http://127.0.0.1:6066") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else one_line(error)
        raise CliError(USAGE, f"{where}: {reason}; {help}") from None
