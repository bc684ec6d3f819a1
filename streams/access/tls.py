"""TLS of a worker's port, and of whoever asks one. Files that are renewed are taken without a restart."""

from __future__ import annotations

import ssl
from typing import Any

from streams.security.tls import RenewedContext, TlsFiles
from streams.settings import Settings, SettingsError


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
    return RenewedContext(_OfPort("HTTP_TLS", authority, cert, key))


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS as it is asked of others: of workers, and of an issuer. None for the system's authorities alone.

    Raises `SettingsError`.
    """
    return RenewedContext(_OfAsker("HTTP", settings.http_ca_file)) if settings.http_ca_file else None


class _OfPort(TlsFiles):
    """The files of a port: its certificate, and the authorities of clients, who need not show one."""

    wanted_password = ": store it without a password"

    def named(self, kind: str) -> str:
        return "HTTP_CLIENT_CA_FILE" if kind == "CA" else super().named(kind)

    def trusting(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca:
            context.load_verify_locations(cafile=self.ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context


class _OfAsker(TlsFiles):
    """Authorities besides those of the system."""

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.load_verify_locations(cafile=self.ca)
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
