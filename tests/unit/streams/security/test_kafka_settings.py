"""Which settings of Kafka's security go together, and what clients are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faust.auth
import pytest
import trustme
from aiokafka.abc import AbstractTokenProvider
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from streams.kafka.client_factory import ClientFactory
from streams.settings import Settings, SettingsError


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Somebody's own."""

    async def token(self) -> str:
        return "token"


LOGIN = {"KAFKA_USER": "me", "KAFKA_PASSWORD": "canary"}
SCRAM = {"KAFKA_SECURITY": "sasl_plaintext", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}
OAUTH = {"KAFKA_SECURITY": "sasl_ssl", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}
CLIENT = {"KAFKA_OAUTH_CLIENT_ID": "orders", "KAFKA_OAUTH_CLIENT_SECRET": "canary"}


def clients(environment: dict[str, str]) -> ClientFactory:
    return ClientFactory.of(Settings.from_environment(environment))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"KAFKA_SECURITY": "tls"}, "KAFKA_SECURITY='tls': use plaintext, ssl, sasl_plaintext or sasl_ssl"),
        (LOGIN, "KAFKA_USER: KAFKA_SECURITY is plaintext, so nothing would use it: set it to sasl_plaintext or"),
        ({"KAFKA_CA_FILE": "/ca"}, "KAFKA_CA_FILE: KAFKA_SECURITY is plaintext, .* set it to ssl or sasl_ssl"),
        ({"KAFKA_SECURITY": "ssl"} | LOGIN, "KAFKA_USER: KAFKA_SECURITY is ssl"),
        ({"KAFKA_SECURITY": "ssl", "KAFKA_CA_FILE": "/no/ca"}, "KAFKA_CA_FILE=/no/ca: No such file"),
        ({"KAFKA_SECURITY": "ssl", "KAFKA_CERT_FILE": "/no/cert"}, "KAFKA_CERT_FILE=/no/cert: No such file"),
        ({"KAFKA_SECURITY": "ssl", "KAFKA_KEY_FILE": "/no/key"}, "KAFKA_KEY_FILE: .* set KAFKA_CERT_FILE too"),
        ({"KAFKA_SECURITY": "sasl_ssl"}, "KAFKA_SASL_MECHANISM: .* use PLAIN, .* or GSSAPI"),
        ({"KAFKA_SECURITY": "sasl_ssl", "KAFKA_SASL_MECHANISM": "MD5"}, "KAFKA_SASL_MECHANISM='MD5': use PLAIN"),
        (SCRAM, "KAFKA_USER: SCRAM-SHA-512 is by user and password"),
        (SCRAM | {"KAFKA_USER": "me"}, "KAFKA_PASSWORD: SCRAM-SHA-512 is by user and password"),
        (OAUTH, "KAFKA_OAUTH_TOKEN_URL: .* none is set"),
        (OAUTH | LOGIN, "KAFKA_PASSWORD: KAFKA_SASL_MECHANISM is OAUTHBEARER, so nothing would use it"),
        (OAUTH | {"KAFKA_OAUTH_TOKEN_URL": "http://far/token"} | CLIENT, "in the clear: use https"),
        (OAUTH | {"KAFKA_OAUTH_TOKEN_URL": "https://me:canary@far/"} | CLIENT, "without user and password"),
        (OAUTH | {"KAFKA_OAUTH_TOKEN_URL": "https://far/token"}, "KAFKA_OAUTH_CLIENT_ID: .* set both"),
        (OAUTH | {"KAFKA_OAUTH_TOKEN_FILE": "/t"} | CLIENT, "KAFKA_OAUTH_CLIENT_ID: only KAFKA_OAUTH_TOKEN_URL"),
        (OAUTH | {"KAFKA_OAUTH_TOKEN_FILE": "/t", "KAFKA_OAUTH_PROVIDER": "a:b"}, "2 of them are set"),
        (OAUTH | {"KAFKA_OAUTH_PROVIDER": "json:dumps"}, "KAFKA_OAUTH_PROVIDER=json:dumps: TypeError"),
        (OAUTH | {"KAFKA_OAUTH_PROVIDER": "builtins:dict"}, "it makes a dict, no aiokafka.abc.AbstractTokenProvider"),
        (OAUTH | {"KAFKA_OAUTH_PROVIDER": "tokens"}, "use module:factory"),
        (OAUTH | {"KAFKA_SASL_MECHANISM": "GSSAPI"}, r"pip install 'sourced-streams\[gssapi\]'"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together(environment: dict[str, str], said: str) -> None:
    """One line that names the setting and says what would do; no secret is in it."""
    with pytest.raises(SettingsError, match=said) as error:
        clients(environment)
    assert "\n" not in str(error.value)
    assert "canary" not in str(error.value)


def test_words_as_other_programs_have_them() -> None:
    """Kafka's own settings are in capitals, and are taken over."""
    settings = Settings.from_environment({"KAFKA_SECURITY": "SASL_SSL", "KAFKA_SASL_MECHANISM": "scram-sha-256"})
    assert ("sasl_ssl", "SCRAM-SHA-256") == (settings.kafka_security, settings.kafka_sasl_mechanism)


@pytest.mark.parametrize(
    "environment",
    [
        {"KAFKA_SECURITY": "ssl"},
        SCRAM | LOGIN,
        SCRAM | LOGIN | {"KAFKA_SECURITY": "sasl_ssl", "KAFKA_SASL_MECHANISM": "PLAIN"},
        OAUTH | {"KAFKA_OAUTH_TOKEN_FILE": "/token"},
        OAUTH | {"KAFKA_OAUTH_TOKEN_URL": "https://far/token"} | CLIENT,
        OAUTH | {"KAFKA_OAUTH_PROVIDER": f"{__name__}:Tokens"},
    ],
    ids=str,
)
def test_faust_is_told_the_same(environment: dict[str, str]) -> None:
    """What its clients are made with is what ours are made with: the one context, the one source of tokens, and a
    password that is still hidden."""
    made = clients(environment)
    told = credentials_to_aiokafka_auth(made.faust_credentials)
    assert made._how == {name: value for name, value in told.items() if value is not None}
    assert "canary" not in repr([made._how, told, made.faust_credentials])


def test_in_the_clear() -> None:
    """Faust has no credentials then."""
    assert clients({}).faust_credentials is None


def test_kerberos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its package is installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    environment = {"KAFKA_SECURITY": "sasl_plaintext", "KAFKA_SASL_MECHANISM": "GSSAPI"}
    made = clients(environment | {"KAFKA_KERBEROS_SERVICE": "broker", "KAFKA_KERBEROS_DOMAIN": "here"})
    told: Any = made.faust_credentials
    assert isinstance(told, faust.auth.GSSAPICredentials)
    assert made._how == {name: value for name, value in credentials_to_aiokafka_auth(told).items() if value is not None}


def test_the_wrong_key(tmp_path: Path) -> None:
    """Certificate and key of two renewals do not fit, and that is said of the right file."""
    ca = trustme.CA()
    mine, other = ca.issue_cert("me"), ca.issue_cert("me")
    cert, key = tmp_path / "cert", tmp_path / "key"
    mine.cert_chain_pems[0].write_to_path(cert)
    other.private_key_pem.write_to_path(key)
    environment = {"KAFKA_SECURITY": "ssl", "KAFKA_CERT_FILE": str(cert), "KAFKA_KEY_FILE": str(key)}
    with pytest.raises(SettingsError, match=f"KAFKA_KEY_FILE={key}: it is not the key of KAFKA_CERT_FILE={cert}"):
        clients(environment)
    with pytest.raises(SettingsError, match="no certificate with its key"):
        clients({"KAFKA_SECURITY": "ssl", "KAFKA_CERT_FILE": str(cert)})
