"""The command line's way to a worker's web port."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec

from streams.cli.run import ERROR, USAGE, CliError
from streams.settings import without_login
from streams.text import one_line

SECONDS = 8.0
PROJECTIONS = "http://127.0.0.1:6066"
"""Where a projections worker listens, unless told otherwise."""

T = TypeVar("T")


class Answer(NamedTuple):
    """A worker's answer, with the full URL that was asked."""

    url: str
    status: int
    body: bytes


class _Problem(msgspec.Struct):
    detail: str


async def ask(url: str, path: str, help: str, body: Any = None, seconds: float = SECONDS) -> Answer:
    """What a worker answers; a `body` is posted as JSON. Raises `CliError` with 2, and `help` in it, for no answer."""
    asked = f"{url.rstrip('/')}{path}"
    where = without_login(asked)
    try:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request("GET" if body is None else "POST", asked, json=body) as response,
        ):
            return Answer(where, response.status, await response.read())
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise CliError(USAGE, f"--url {without_login(url)} is not a URL like {PROJECTIONS}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else one_line(error)
        raise CliError(USAGE, f"{where}: {reason}; {help}") from None


def read(answer: Answer, type: type[T], name: str, no: int = USAGE) -> T:
    """A good answer, which is of this type; `name` says what it should be.

    Raises `CliError` with 2 for any other answer, with `no` where a worker says that there is no such thing, or that it
    cannot be done.
    """
    if answer.status not in (200, 202):
        raise refused(answer, no, f"; is it {name}?")
    try:
        return msgspec.json.decode(answer.body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CliError(USAGE, f"{answer.url} is not {name}: {one_line(error)}") from None


def refused(answer: Answer, no: int = ERROR, hint: str = "") -> CliError:
    """Why a worker did not do it, in its own words. A `hint` follows where it may be another server."""
    try:
        detail = msgspec.json.decode(answer.body, type=_Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        detail = answer.body[:200].decode(errors="replace")
    if answer.status in (404, 409) and no != USAGE:
        return CliError(no, one_line(detail))
    return CliError(
        USAGE, f"{answer.url} answers {answer.status}: {one_line(detail) or 'nothing'}{hint if no == USAGE else ''}"
    )
