"""A store's server, as the URL in a setting names it: parsed, refused and secured in one way for all kinds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ssl import SSLContext, SSLEOFError, SSLSyscallError, SSLZeroReturnError, create_default_context
from typing import Any
from urllib.parse import parse_qsl, unquote

from streams.settings import SettingsError, host_and_port, is_port, split_url

CUT = (SSLEOFError, SSLZeroReturnError, SSLSyscallError)
"""The other end went away in the middle of a handshake, as a server does that is restarted. This passes; anything else
that is wrong with TLS is a setting."""


@dataclass(frozen=True, kw_only=True)
class StoreUrl:
    """`scheme://[user[:password]@]host[,host][:port]/..[?ssl=..]`; what each kind of store adds is in its subclass."""

    hosts: tuple[str, ...]
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    ssl: str = ""
    """Empty: no TLS. `true`: TLS, the system's authorities are trusted. Otherwise the file of those trusted."""
    setting: str = "JOURNAL_URL"
    """The setting that the URL is from: messages begin with it."""

    def tls(self) -> SSLContext | None:
        """What TLS trusts; None without TLS. Raises `SettingsError`."""
        return trusting("" if self.ssl == "true" else self.ssl, f"{self.setting}: ssl") if self.ssl else None


def split_store_url(
    url: str, setting: str, port: int, options: Sequence[str] = ()
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """The fields of a `StoreUrl`, the URL's path as it is written there, and those of its `options` that it has.

    `port` is the one that is meant where the URL has none. Raises `SettingsError` for an unknown option; a `port` of 0
    and an empty one among the `hosts` are for the caller to refuse, who knows the right form.
    """
    parts = split_url(url, setting)
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts, port_text = host_and_port(place, str(port))
    values = dict(parse_qsl(parts.query))
    known = (*options, "ssl")
    if unknown := values.keys() - {*known}:
        names, has = ", ".join(sorted(unknown)), " and ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
        raise SettingsError(f"{setting}: no option {names}; there {'are' if options else 'is'} {has}")
    trusted = values.pop("ssl", "")
    fields = {
        "hosts": tuple(host.strip(" []") for host in hosts.split(",")),
        "port": int(port_text) if is_port(port_text) else 0,
        "user": unquote(user),
        "password": unquote(password),
        "ssl": "" if trusted == "false" else trusted,
        "setting": setting,
    }
    return fields, parts.path.strip("/"), values


def trusting(file: str, setting: str) -> SSLContext:
    """TLS that trusts the authorities in a file, the system's when it is empty. Raises `SettingsError`."""
    try:
        return create_default_context(cafile=file or None)
    except OSError as error:
        raise SettingsError(f"{setting}={file}: {error.strerror or error}") from None


def database_name(kind: str, longest: int, namespace: str, base: str, context: str, setting: str) -> str:
    """The name of the keyspace or schema of a context, `<namespace><base>_<context>`, as it may stand without quotes.
    Raises `SettingsError`."""
    name = re.sub(r"[^a-z0-9_]", "_", f"{namespace}{base}_{context}".lower())
    if not base or not "a" <= name[0] <= "z" or len(name) > longest:
        raise SettingsError(
            f"{setting} and NAMESPACE give the {kind} {name!r}: it has to start with a letter"
            f" and to have at most {longest} characters"
        )
    return name
