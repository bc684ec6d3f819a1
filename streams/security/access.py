"""The settings by which Kafka lets this process in."""

from __future__ import annotations

from dataclasses import dataclass

from streams.security.secret import NO_SECRET, Secret

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI")


@dataclass(frozen=True)
class KafkaAccess:
    """How brokers are spoken to, and who this process is to them. The setting of each has the same name in capitals;
    a secret may also stand in the file that `<NAME>_FILE` names."""

    kafka_security: str = PROTOCOLS[0]
    """TLS or not, a login or not."""
    kafka_sasl_mechanism: str = ""
    kafka_user: str = ""
    kafka_password: Secret = NO_SECRET
    kafka_ca_file: str = ""
    """The authorities that brokers' certificates are to be from; empty: those of the system."""
    kafka_cert_file: str = ""
    """The certificate of this process, for brokers that ask for one."""
    kafka_key_file: str = ""
    """Its key; empty: it stands in the file of the certificate."""
    kafka_key_password: Secret = NO_SECRET
    kafka_oauth_token_url: str = ""
    """Where a token is had for a client's id and secret (OAuth 2.0 client credentials)."""
    kafka_oauth_client_id: str = ""
    kafka_oauth_client_secret: Secret = NO_SECRET
    kafka_oauth_scope: str = ""
    kafka_oauth_ca_file: str = ""
    """The authorities that the certificate of the token's server is to be from; empty: those of the system."""
    kafka_oauth_token_file: str = ""
    """A file that has the token, which somebody else renews."""
    kafka_oauth_provider: str = ""
    """`module:factory`: makes an `aiokafka.abc.AbstractTokenProvider`."""
    kafka_kerberos_service: str = "kafka"
    kafka_kerberos_domain: str = ""
    """The name of the brokers to Kerberos; empty: that by which each is connected to."""
