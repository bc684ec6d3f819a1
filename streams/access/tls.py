"""TLS of a worker's port, and of whoever asks one. Certificates that are renewed are taken without a restart."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path
from typing import Any

from streams.settings import Settings, SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS as a worker offers it; None without a certificate. Raises `SettingsError`."""
    cert, key, authority = settings.http_tls_cert_file, settings.http_tls_key_file, settings.http_client_ca_file
    if not cert:
        for name, value in (("HTTP_TLS_KEY_FILE", key), ("HTTP_CLIENT_CA_FILE", authority)):
            if value:
                raise SettingsError(f"{name} is set, and HTTP_TLS_CERT_FILE is not: say both, or neither")
        return None
    if not key:
        raise SettingsError("HTTP_TLS_CERT_FILE is set, and HTTP_TLS_KEY_FILE is not: say both, or neither")
    renewed = _Renewed(Path(cert), Path(key))
    context = renewed.context
    if authority:
        _trust(context, "HTTP_CLIENT_CA_FILE", authority)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS as it is asked of others: of workers, and of an issuer. None for the system's authorities alone.

    Raises `SettingsError`.
    """
    if not settings.http_ca_file:
        return None
    context = ssl.create_default_context()
    _trust(context, "HTTP_CA_FILE", settings.http_ca_file)
    return context


def name_of_certificate(request: Any) -> str | None:
    """The common name in the certificate that a client has shown; None for none, or for a name that is not one."""
    names = [value for parts in _shown(request).get("subject", ()) for key, value in parts if key == "commonName"]
    return names[0] if len(names) == 1 else None


def end_of_certificate(request: Any) -> float | None:
    """Until when that holds, in seconds since 1970. It is looked at in a handshake, and connections last."""
    end = _shown(request).get("notAfter")
    return None if end is None else float(ssl.cert_time_to_seconds(end))


def _shown(request: Any) -> Any:
    return {} if request.transport is None else request.transport.get_extra_info("peercert") or {}


def _trust(context: ssl.SSLContext, setting: str, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:  # `SSLError` is an `OSError`
        raise SettingsError(f"{setting}={path}: {_reason(error)}: it is to have certificates in PEM") from None


class _Renewed:
    """A certificate and its key, loaded anew at a handshake when their files have changed."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self._looked = time.monotonic()
        self._state = self._stat()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(self.context)
        self.context.sni_callback = self._shake_hands

    def _stat(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._files)
        except OSError as error:
            raise SettingsError(f"HTTP_TLS_CERT_FILE, HTTP_TLS_KEY_FILE: {error.filename}: {error.strerror}") from None

    def _load(self, context: ssl.SSLContext) -> None:
        cert, key = self._files
        try:
            context.load_cert_chain(cert, key, password=lambda: "")  # else it would ask the terminal
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"HTTP_TLS_CERT_FILE={cert}, HTTP_TLS_KEY_FILE={key}: {_reason(error)}: they are to be a certificate"
                " and its key in PEM, without a password"
            ) from None

    def _shake_hands(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            state = self._stat()
            if state == self._state:
                return
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # halves of two pairs must not go into the good one
            self._load(context)
        except SettingsError as error:
            log.error("%s: the certificate before goes on to be shown", error)
            return
        self._state = state
        connection.context = context
        log.warning("%s has changed, and is shown from now on", self._files[0])


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
