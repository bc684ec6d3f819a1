"""TLS by files that somebody renews while the process runs: each connection is made by what they say then."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.security.renewed import Renewed, Stamp, stamp_of
from streams.security.secret import NO_SECRET, Secret, SecretUnreadable
from streams.settings import SettingsError


@dataclass(frozen=True)
class TlsFiles:
    """The files of a client, or of another side, of TLS, each with the setting that names it.

    ca      the authorities that are trusted; empty: those of the system
    cert    the client's own certificate, and those between it and its authority; empty: none
    key     its key; empty: in the file of the certificate
    """

    setting: str
    """How the settings of the files begin, as `KAFKA` does of `KAFKA_CA_FILE`."""
    ca: str = ""
    cert: str = ""
    key: str = ""
    key_password: Secret = NO_SECRET

    @property
    def wanted_password(self) -> str:
        """What to do about a key that is encrypted."""
        return f": set {self.setting}_KEY_PASSWORD"

    def stamp(self) -> Stamp:
        """What changes with any of the files. Raises `OSError`."""
        return stamp_of([file for file in (self.ca, self.cert, self.key) if file])

    def context(self) -> ssl.SSLContext:
        """TLS as the files say now. Raises `SettingsError`, which names the setting."""
        try:
            context = self.trusting()
        except OSError as error:
            raise SettingsError(f"{self.named('CA')}={self.ca}: {_reason(error)}") from None
        if self.cert:
            try:
                context.load_cert_chain(self.cert, self.key or None, self._password)
            except SecretUnreadable as error:
                raise SettingsError(str(error)) from None
            except OSError as error:
                raise SettingsError(self._of_pair(error)) from None
        return context

    def trusting(self) -> ssl.SSLContext:
        """A context with the authorities; host names are checked. Raises `OSError`."""
        return ssl.create_default_context(cafile=self.ca or None)

    def named(self, kind: str) -> str:
        """The setting of a file: CA, CERT or KEY."""
        return f"{self.setting}_{kind}_FILE"

    def _password(self) -> str:
        if not self.key_password:
            raise SecretUnreadable(f"{self.named('KEY')}: the key is encrypted{self.wanted_password}")
        return self.key_password.reveal()

    def _of_pair(self, error: OSError) -> str:
        """Which of the two files it is about."""
        cert, key = f"{self.named('CERT')}={self.cert}", f"{self.named('KEY')}={self.key or self.cert}"
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            return f"{key}: it is not the key of {cert}"
        for file, named in ((self.cert, cert), (self.key, key)):
            try:
                if file:
                    open(file, "rb").close()
            except OSError as unreadable:
                return f"{named}: {_reason(unreadable)}"
        if self.key_password and b"ENCRYPTED" in Path(self.key or self.cert).read_bytes():  # OpenSSL does not say it
            return f"{key}: {self.setting}_KEY_PASSWORD does not open it"
        return f"{cert}, {key}: no certificate with its key in PEM: {_reason(error)}"


class RenewedContext(ssl.SSLContext):
    """A context for connections that is made anew when a file has changed. It trusts nobody by itself.

    Connections are made by `Renewed` files, those of either side. It may be used by several threads. Raises
    `SettingsError` when it is made.
    """

    _renewed: Renewed[ssl.SSLContext]

    def __new__(cls, files: TlsFiles) -> RenewedContext:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self._renewed = Renewed(files.setting, files.stamp, files.context)
        return self

    def __init__(self, files: TlsFiles) -> None:
        """All is done where the context is made."""

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As asyncio and uvloop begin each connection."""
        return self._renewed.value.wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As a thread begins each connection."""
        return self._renewed.value.wrap_socket(*arguments, **options)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").replace("_", " ").lower()
    return error.strerror or str(error)
