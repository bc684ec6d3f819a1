"""The command line's way to a worker's web port, and the tokens with which one asks there."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import aiohttp
import click
import msgspec
from faust.cli import argument, option

from streams.access.access import is_loopback
from streams.access.tls import client_context
from streams.access.tokens import NAME, Tokens, new_token
from streams.audit.records import in_short
from streams.cli.audit.orders import REASON, ordered, user
from streams.cli.run import ERROR, USAGE, CliError, TypesCommand, command
from streams.settings import Settings, SettingsError, without_login
from streams.text import one_line

SECONDS = 8.0
PROJECTIONS = "http://127.0.0.1:6066"
"""Where a projections worker listens, unless told otherwise."""

T = TypeVar("T")


class Door(NamedTuple):
    """A worker's URL, and the settings that say how one asks there: HTTP_TOKEN_FILE, HTTP_CA_FILE."""

    url: str
    settings: Settings

    @property
    def headers(self) -> dict[str, str]:
        """With the token that says who asks, where there is one, and in any case who it is by this machine's word, for
        the audit. Raises `CliError`."""
        path, whose = self.settings.http_token_file, {"User-Agent": f"command line ({in_short(user())})"}
        if not path:
            return whose
        asked = urlsplit(self.url)
        if asked.scheme == "http" and not is_loopback(asked.hostname or "") and not self.settings.http_insecure:
            raise CliError(
                USAGE,
                f"HTTP_TOKEN_FILE: the token would go to {without_login(self.url)} in the clear: ask by https, or say"
                " HTTP_INSECURE=yes where whoever is on that network may have it",
            )
        try:
            return {**whose, "Authorization": f"Bearer {Path(path).read_text('ascii').strip()}"}
        except (OSError, ValueError) as error:
            raise CliError(USAGE, f"HTTP_TOKEN_FILE={path}: {getattr(error, 'strerror', None) or error}") from None

    def session(self, seconds: float) -> aiohttp.ClientSession:
        """A session for requests of at most so many seconds. Raises `CliError`."""
        try:
            tls = _tls(self.settings)
        except SettingsError as error:
            raise CliError(USAGE, str(error)) from None
        connector = aiohttp.TCPConnector(ssl=True if tls is None else tls)
        timeout = aiohttp.ClientTimeout(total=seconds)
        return aiohttp.ClientSession(timeout=timeout, connector=connector, headers=self.headers)


@lru_cache(maxsize=8)
def _tls(settings: Settings) -> ssl.SSLContext | None:
    """How workers are trusted. To read all authorities takes a tenth of a second, and a worker that looks at others
    asks again and again: it is made once, and made anew by itself when its file has changed. Raises `SettingsError`."""
    return client_context(settings)


class Answer(NamedTuple):
    """A worker's answer, with the full URL that was asked."""

    url: str
    status: int
    body: bytes


class _Problem(msgspec.Struct):
    detail: str


async def ask(where: Door | str, path: str, help: str, body: Any = None, seconds: float = SECONDS) -> Answer:
    """What a worker answers; a `body` is posted as JSON. Raises `CliError` with 2, and `help` in it, for no answer."""
    door = Door(where, Settings()) if isinstance(where, str) else where
    url = door.url
    asked = f"{url.rstrip('/')}{path}"
    shown = without_login(asked)
    try:
        async with (
            door.session(seconds) as session,
            session.request("GET" if body is None else "POST", asked, json=body, allow_redirects=False) as response,
        ):
            return Answer(shown, response.status, await response.read())
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        raise CliError(USAGE, f"--url {without_login(url)} is not a URL like {PROJECTIONS}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else one_line(error)
        raise CliError(USAGE, f"{shown}: {reason}; {help}") from None


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


@command(
    argument("name"),
    option("--days", type=click.IntRange(1, 3_650), metavar="N", help="For so long it holds.", show_default=False),
    option("--file", metavar="FILE", help="The file of tokens; HTTP_TOKENS_FILE without it.", show_default=False),
    REASON,
)
async def token(self: TypesCommand, name: str, days: int | None, file: str | None, reason: str) -> None:
    """Make a bearer token, and add its hash to the file of tokens.

    \b
    faust -A projections.shop.app token ci --days 365 --file tokens
    HTTP_TOKEN_FILE=ci.token faust -A projections.shop.app lag

    The token is printed, and kept nowhere: whoever loses it needs a new one. What it allows is said in
    HTTP_GRANTS_FILE, to `token:NAME`. A token ends when its line is taken out of the file; workers read the file anew
    when it has changed. That it was made stands in the audit, so Kafka is asked.

    Exit code: 1 Kafka does not answer; 2 wrong use, or the file cannot be written.
    """
    path = file or self.settings.http_tokens_file
    if not path:
        raise CliError(USAGE, "say where tokens are kept: --file, or HTTP_TOKENS_FILE")
    if not NAME.fullmatch(name):
        raise CliError(USAGE, f"{name!r} is no name: use letters, digits, '.', '_' and '-', at most 64")
    until = None if days is None else datetime.now(UTC) + timedelta(days=days)
    secret, line = new_token(name, until)
    async with ordered(self, "token", reason, {"name": name, "until": until, "file": path}) as order:
        add_line(Path(path), line)
        order.effect = f"{path} has the hash of a token of {name}"
    click.echo(secret)


def add_line(path: Path, line: str) -> None:
    """Put a line behind those of a file of tokens, which is made for its owner alone. Raises `CliError`."""
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        Tokens.read(before)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as output:
            output.write(("" if before.endswith("\n") or not before else "\n") + line + "\n")
    except OSError as error:
        raise CliError(USAGE, f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise CliError(USAGE, f"{path}: {error}") from None
