"""A secured broker with a system on it: who has which rights, and how each worker is let in."""

from __future__ import annotations

from pathlib import Path

from servers.secured.grants import grant, grant_printed, revoke
from servers.secured.kafka import ADMIN, SecuredKafka
from servers.secured.tokens import Issuer
from tests.e2e.system import System
from tests.e2e.worker import ORDERS, PROJECTIONS

SCRAM = "SCRAM-SHA-512"


class Site:
    """The broker, and the system whose namespace is granted."""

    def __init__(self, kafka: SecuredKafka, issuer: Issuer, folder: Path, data: Path) -> None:
        self.kafka = kafka
        self.issuer = issuer
        self.folder = folder
        self.brokers = ";".join(f"kafka://{address}" for address in kafka.servers)
        self.mutual = ";".join(f"kafka://{address}" for address in kafka.mutual_servers)
        self.admin = kafka.administrator()
        self.system = System(data, f"sqlite:///{data}/journal", self.brokers, self.admin)
        self.secrets: set[str] = set()

    def login(self, user: str, mechanism: str = SCRAM, **settings: str) -> dict[str, str]:
        """The settings of a user with a password."""
        return {
            "KAFKA_BROKERS": self.brokers,
            "KAFKA_SECURITY": "sasl_ssl",
            "KAFKA_CA_FILE": str(self.kafka.ca),
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_USER": user,
            "KAFKA_PASSWORD_FILE": str(self.kafka.password_file(user)),
        } | settings

    def bearer(self, file: Path) -> dict[str, str]:
        """The settings of whoever has the token in a file."""
        return {
            "KAFKA_BROKERS": self.brokers,
            "KAFKA_SECURITY": "sasl_ssl",
            "KAFKA_CA_FILE": str(self.kafka.ca),
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_OAUTH_TOKEN_FILE": str(file),
        }

    def certified(self, certificate: Path) -> dict[str, str]:
        """The settings of whoever has a certificate."""
        return {
            "KAFKA_BROKERS": self.mutual,
            "KAFKA_SECURITY": "ssl",
            "KAFKA_CA_FILE": str(self.kafka.ca),
            "KAFKA_CERT_FILE": str(certificate),
        }

    def write_token(self, file: Path, user: str, seconds: float) -> None:
        """A new token in the place of the one before."""
        token, draft = self.issuer.token(user, seconds), file.with_suffix(".part")
        self.secrets.add(token)
        draft.write_text(token)
        draft.replace(file)

    async def grant(self, user: str, right: str, *resources: str) -> None:
        """Resources by their names in the namespace."""
        await grant(self.admin, user, right, *map(self._named, resources))

    async def revoke(self, user: str, right: str, *resources: str) -> None:
        """As they were granted."""
        await revoke(self.admin, user, right, *map(self._named, resources))

    def _named(self, resource: str) -> str:
        kind, _, name = resource.partition(":")
        return f"{kind}:{self.system.namespace}{name}"

    async def grant_printed(self, user: str, app: str) -> None:
        """What the app prints that its workers need, and no more."""
        replies = self.system.topic("answers")
        named = "acls", "--json", "--principal", f"User:{user}"
        printed = await self.system.run("-A", app, *named, **self.login(ADMIN, REPLY_TOPICS=replies))
        assert 0 == printed.returncode, printed.stderr
        await grant_printed(self.admin, printed.stdout.splitlines())

    async def grant_all(self) -> None:
        """What the workers need, and no more."""
        await self.grant_printed("orders", ORDERS)
        await self.grant_printed("projections", PROJECTIONS)
