"""How brokers are spoken to, from the settings: what aiokafka's clients and Faust take for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import faust.auth
from aiokafka.abc import AbstractTokenProvider
from yarl import URL

from streams.security.access import MECHANISMS, PROTOCOLS, KafkaAccess
from streams.security.secret import SecretUnreadable
from streams.security.tls import RenewedContext, TlsFiles
from streams.security.tokens import ClientCredentials, FileTokens, provider_of
from streams.settings import SettingsError

Connection = Mapping[str, Any]
"""Arguments of all clients of aiokafka. A password is a `Secret`, which is revealed when a connection is made."""

_TLS = ("kafka_ca_file", "kafka_cert_file", "kafka_key_file", "kafka_key_password")
_LOGIN = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
_OAUTH = ("kafka_oauth_token_url", "kafka_oauth_token_file", "kafka_oauth_provider")
_OAUTH_CLIENT = ("kafka_oauth_client_id", "kafka_oauth_client_secret", "kafka_oauth_scope", "kafka_oauth_ca_file")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def connection(access: KafkaAccess) -> Connection:
    """How clients connect. Raises `SettingsError` for settings that do not go together, and files that cannot be
    used."""
    protocol = access.kafka_security
    tls, sasl = protocol.endswith("ssl"), protocol.startswith("sasl")
    _check_used(access, tls, sasl)
    options: dict[str, Any] = {"security_protocol": protocol.upper()}
    if tls:
        files = TlsFiles(
            "KAFKA",
            access.kafka_ca_file,
            access.kafka_cert_file,
            access.kafka_key_file,
            access.kafka_key_password,
        )
        options["ssl_context"] = RenewedContext(files)
    return options | (_sasl(access) if sasl else {})


def faust_credentials(options: Connection) -> faust.auth.Credentials | None:
    """The same for the clients that Faust makes; None where brokers are spoken to in the clear."""
    tls, mechanism = options.get("ssl_context"), options.get("sasl_mechanism")
    match mechanism:
        case None:
            return None if tls is None else faust.auth.SSLCredentials(tls)
        case "OAUTHBEARER":
            return faust.auth.OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=tls)
        case "GSSAPI":
            return faust.auth.GSSAPICredentials(
                kerberos_service_name=options["sasl_kerberos_service_name"],
                kerberos_domain_name=options["sasl_kerberos_domain_name"],
                ssl_context=tls,
                mechanism=mechanism,
            )
    user, password = options["sasl_plain_username"], options["sasl_plain_password"]
    return faust.auth.SASLCredentials(username=user, password=password, ssl_context=tls, mechanism=mechanism)


def _check_used(access: KafkaAccess, tls: bool, sasl: bool) -> None:
    """Raise `SettingsError` for a setting that would be of no effect: somebody believes that it protects something."""
    defaults = KafkaAccess()
    for field in fields(KafkaAccess):
        name, setting = field.name, field.name.upper()
        if name == "kafka_security" or getattr(access, name) == getattr(defaults, name):
            continue
        if not (tls if name in _TLS else sasl):
            fit = [word for word in PROTOCOLS if (word.endswith("ssl") if name in _TLS else word.startswith("sasl"))]
            raise SettingsError(
                f"{setting}: KAFKA_SECURITY is {access.kafka_security}, so nothing would use it: set it to"
                f" {' or '.join(fit)}, or leave {setting} out"
            )
    if not access.kafka_cert_file and (access.kafka_key_file or access.kafka_key_password):
        raise SettingsError("KAFKA_KEY_FILE: a key alone says nothing: set KAFKA_CERT_FILE too")


def _sasl(access: KafkaAccess) -> dict[str, Any]:
    mechanism = access.kafka_sasl_mechanism
    if not mechanism:
        raise SettingsError(f"KAFKA_SASL_MECHANISM: KAFKA_SECURITY is {access.kafka_security}: {use(MECHANISMS)}")
    if mechanism in _LOGIN:
        for name in ("kafka_user", "kafka_password"):
            if not getattr(access, name):
                raise SettingsError(f"{name.upper()}: {mechanism} is by user and password: set both")
        try:
            access.kafka_password.reveal()
        except SecretUnreadable as error:
            raise SettingsError(str(error)) from None
        login = {"sasl_plain_username": access.kafka_user, "sasl_plain_password": access.kafka_password}
        return {"sasl_mechanism": mechanism, **login}
    if access.kafka_password:
        raise SettingsError(f"KAFKA_PASSWORD: KAFKA_SASL_MECHANISM is {mechanism}, so nothing would use it")
    if mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": _tokens(access)}
    if importlib.util.find_spec("gssapi") is None:
        raise SettingsError("KAFKA_SASL_MECHANISM=GSSAPI: pip install 'sourced-streams[gssapi]' first")
    return {
        "sasl_mechanism": mechanism,
        "sasl_kerberos_service_name": access.kafka_kerberos_service,
        "sasl_kerberos_domain_name": access.kafka_kerberos_domain or None,
    }


def _tokens(access: KafkaAccess) -> AbstractTokenProvider:
    given = [name for name in _OAUTH if getattr(access, name)]
    if len(given) != 1:
        has = f"{len(given)} of them are set" if given else "none is set"
        raise SettingsError(f"{given[0].upper() if given else _OAUTH[0].upper()}: OAUTHBEARER has its tokens from one"
                            f" of {', '.join(map(str.upper, _OAUTH))}; {has}")  # fmt: skip
    if not access.kafka_oauth_token_url and (unused := [name for name in _OAUTH_CLIENT if getattr(access, name)]):
        raise SettingsError(f"{unused[0].upper()}: only KAFKA_OAUTH_TOKEN_URL would use it")
    if access.kafka_oauth_provider:
        return provider_of(access.kafka_oauth_provider)
    if access.kafka_oauth_token_file:
        return FileTokens(access.kafka_oauth_token_file, "KAFKA_OAUTH_TOKEN_FILE")
    return _client_credentials(access)


def _client_credentials(access: KafkaAccess) -> ClientCredentials:
    try:
        url = URL(access.kafka_oauth_token_url)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or url.user or url.password:
        raise SettingsError("KAFKA_OAUTH_TOKEN_URL: use https://host[:port]/path, without user and password")
    if url.scheme == "http" and url.host not in _LOOPBACK:
        raise SettingsError("KAFKA_OAUTH_TOKEN_URL: the client's secret would go over http in the clear: use https")
    for name in ("kafka_oauth_client_id", "kafka_oauth_client_secret"):
        if not getattr(access, name):
            raise SettingsError(
                f"{name.upper()}: KAFKA_OAUTH_TOKEN_URL gives tokens to a client by id and secret: set both"
            )
    tls = RenewedContext(TlsFiles("KAFKA_OAUTH", access.kafka_oauth_ca_file)) if url.scheme == "https" else None
    client, secret = access.kafka_oauth_client_id, access.kafka_oauth_client_secret
    return ClientCredentials(str(url), client, secret, access.kafka_oauth_scope, tls)


def use(words: tuple[str, ...]) -> str:
    """The words that a setting can be, for its message."""
    return f"use {', '.join(words[:-1])} or {words[-1]}"
