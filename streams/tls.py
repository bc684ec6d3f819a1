"""TLS as a client: what is trusted, which certificate is shown, and what a refusal means to people."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Any

from streams.settings import SettingsError

log = logging.getLogger(__name__)

CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""The other end went away in the middle of a handshake, as a server does that is restarted. This passes; anything else
that is wrong with TLS is a setting."""

_OTHER_NAME = (62, 63, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_MISMATCH, _IP_ADDRESS_MISMATCH
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_WANTS_CERTIFICATE = (
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_UNKNOWN",
    "HANDSHAKE_FAILURE",
)


class ClientContext(ssl.SSLContext):
    """A context whose files are read anew when they have changed, at the next handshake: a certificate that is renewed
    is taken without a restart. An authority that was trusted once is trusted until the process ends."""

    _ca: str
    _cert: str
    _key: str
    _read: tuple[tuple[int, int, int] | None, ...]

    @classmethod
    def of(cls, ca: str = "", cert: str = "", key: str = "") -> ClientContext:
        """Trusts the authorities in the file `ca`, the system's if there is none, and shows `cert`, whose private key
        is in `key`, or in the same file. Raises `OSError`, an `SSLError` among them."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags = ssl.create_default_context(cafile=ca or None).verify_flags
        context._ca, context._cert, context._key = ca, cert, key
        if not ca:
            context.load_default_certs()
        context._read = context._stamps()
        context._load()
        return context

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        self._renew()
        return super().wrap_socket(*arguments, **options)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        self._renew()
        return super().wrap_bio(*arguments, **options)

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(file) for file in (self._ca, self._cert, self._key) if file)

    def _load(self) -> None:
        if self._ca:
            self.load_verify_locations(self._ca)
        if self._cert:
            # Without a password OpenSSL would ask whoever sits at the terminal for that of an encrypted key.
            self.load_cert_chain(self._cert, self._key or None, password=lambda: b"")

    def _renew(self) -> None:
        if (stamps := self._stamps()) == self._read:
            return
        try:
            self._load()
        except OSError as error:  # half written, or the key is not there yet: the former ones serve until then
            log.warning("TLS: %s is not taken: %s", " and ".join(filter(None, (self._cert, self._key))), said(error))
            return
        self._read = stamps


def client_context(setting: str, *, ca: str = "", cert: str = "", key: str = "") -> ClientContext:
    """As `ClientContext.of`. Raises `SettingsError`, which begins with `setting` and names the file."""
    for file in filter(None, (ca, cert, key)):
        try:
            Path(file).open("rb").close()
        except OSError as error:
            raise SettingsError(f"{setting}: {file}: {error.strerror or error}") from None
    try:
        return ClientContext.of(ca, cert, key)
    except OSError as error:
        files = ", ".join(filter(None, (ca, cert, key)))
        raise SettingsError(
            f"{setting}: {files}: no certificates and keys in PEM that belong together: {said(error)}"
        ) from None


def refusal(error: ssl.SSLError) -> str:
    """What went wrong in a handshake, and what to do."""
    code = getattr(error, "verify_code", 0)
    reason = (getattr(error, "reason", None) or "").upper()
    if code in _OTHER_NAME:
        return f"its certificate is another server's: {_verified(error)}"
    if code in _UNKNOWN_AUTHORITY:
        return f"its certificate is of an authority that is not trusted: {_verified(error)}; name its file with ca=FILE"
    if code:
        return f"its certificate does not hold: {_verified(error)}"
    if any(words in reason for words in _WANTS_CERTIFICATE):
        return f"it wants a certificate that it trusts, see cert=FILE and key=FILE ({reason})"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return f"it does not speak TLS there ({reason})"
    return reason or str(error)


def _verified(error: Any) -> str:
    return str(getattr(error, "verify_message", "") or error).rstrip(".")


def said(error: OSError) -> str:
    """An error of files or certificates in a few words."""
    return getattr(error, "reason", None) or error.strerror or str(error)


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        stat = Path(file).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
