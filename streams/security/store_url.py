"""A store's server, as the URL in a setting names it: parsed, refused and secured in one way for all kinds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote

from streams.security.tls import RenewedContext, TlsFiles
from streams.settings import SettingsError, host_and_port, is_port, split_url

TLS = ("ssl", "ca", "cert", "key")
"""The options that every URL of a server has."""


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Whether and how TLS is spoken, as the options of a URL say.

    ca    the file of the authorities that are trusted; empty: the system's
    cert  the file of the certificate that is shown, with its private key in `key`, or in the same file; empty: none
    """

    setting: str = "JOURNAL_URL"
    """The setting that the URL is from: messages begin with it."""
    is_on: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""

    @classmethod
    def of(cls, options: dict[str, str], setting: str) -> Tls:
        """Takes its own out of the options of a URL: `ssl=true`, `ssl=false`, or `ssl=FILE`, which is `ca=FILE`; any
        of the others switches it on. Raises `SettingsError`."""
        ssl, ca, cert, key = (options.pop(name, "") for name in TLS)
        if ssl == "false" and (ca or cert or key):
            raise SettingsError(f"{setting}: ssl=false, and yet ca, cert or key: leave out the one or the others")
        if ssl not in ("", "true", "false"):
            if ca:
                raise SettingsError(f"{setting}: ssl={ssl} and ca={ca} both name the authorities: leave one out")
            ca = ssl
        if key and not cert:
            raise SettingsError(f"{setting}: key={key} without cert: name the file of its certificate, too")
        return cls(setting=setting, is_on=bool(ca or cert or ssl == "true"), ca=ca, cert=cert, key=key)

    def context(self) -> RenewedContext | None:
        """None without TLS. Raises `SettingsError`."""
        return RenewedContext(_Files(self.setting, self.ca, self.cert, self.key)) if self.is_on else None


class _Files(TlsFiles):
    """Files that are named in a URL."""

    wanted_password = ": store it without a password"

    def named(self, kind: str) -> str:
        return f"{self.setting}: {kind.lower()}"


@dataclass(frozen=True, kw_only=True)
class StoreUrl:
    """`scheme://[user[:password]@]host[,host][:port]/..[?ssl=..]`; what each kind of store adds is in its subclass."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    """The port of each host; one that has none in the URL has that of the last."""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = Tls()

    @property
    def port(self) -> int:
        """The port of all hosts, where they have one in common."""
        return self.ports[-1]

    @property
    def setting(self) -> str:
        """The setting that the URL is from."""
        return self.tls.setting


def split_store_url(
    url: str, setting: str, port: int, options: Sequence[str] = ()
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """The fields of a `StoreUrl`, the URL's path as it is written there, and those of its `options` that it has.

    `port` is the one that is meant where the URL has none. Raises `SettingsError` for an unknown option; a port of 0
    and an empty one among the `hosts` are for the caller to refuse, who knows the right form.
    """
    parts = split_url(url, setting)
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    last = host_and_port(place, str(port))[1]
    servers = [host_and_port(server.strip(), last) for server in place.split(",")]
    values = url_options(parts, setting, options)
    fields = {
        "hosts": tuple(host.strip("[]") for host, _ in servers),
        "ports": tuple(int(text) if is_port(text) else 0 for _, text in servers),
        "user": unquote(user),
        "password": unquote(password),
        "tls": Tls.of(values, setting),
    }
    return fields, parts.path.strip("/"), values


def url_options(parts: SplitResult, setting: str, options: Sequence[str] = ()) -> dict[str, str]:
    """What stands behind the `?` of a URL: `options`, and those of TLS. Raises `SettingsError` for others."""
    if "@" not in parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        # Behind an unescaped `/`, `?` or `#` of a password, which no message is to show.
        raise SettingsError(f"{setting}: write the special characters of user, password and files as %2F and the like")
    values = dict(parse_qsl(parts.query))
    known = (*options, *TLS)
    if unknown := values.keys() - {*known}:
        names = ", ".join(sorted(unknown))
        raise SettingsError(f"{setting}: no option {names}; there are {', '.join(known[:-1])} and {known[-1]}")
    return values


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
