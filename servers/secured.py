"""A second Kafka broker as companies run theirs: TLS, logins, and nothing that is not granted. For tests, and to try a
secured system out: `python -m servers.secured up`, `grant orders Read topic:order-commands`, `down`."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from servers import kafka, process, tools
from servers.certificates import Authority
from servers.grants import OPERATIONS, grant, revoke
from servers.tokens import AUDIENCE, ISSUER, Issuer
from servers.where import HOST, ServersError, Where
from streams.kafka.client_factory import ClientFactory
from streams.secret import Secret
from streams.settings import Settings

PORT = 9094
"""Of the listener with logins; the controller has the next port, the one for certificates the one after that."""
ADMIN = "admin"
USERS = (ADMIN, "orders", "products", "users", "checkout", "projections", "nobody")
"""Who has a login. All but the administrator have no right that was not granted."""
SERVER = "broker"
START_SECONDS = 120.0

PROPERTIES = (
    """\
# Written by `python -m servers.secured up`; edits are lost at the next start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=LOGIN://{host}:{port},CONTROLLER://{host}:{controller},MUTUAL://{host}:{mutual}
advertised.listeners=LOGIN://{host}:{port},MUTUAL://{host}:{mutual}
listener.security.protocol.map=LOGIN:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=MUTUAL
log.dirs={folder}/data
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=2
log.cleaner.dedupe.buffer.size=16777216
ssl.keystore.type=PEM
ssl.keystore.location={folder}/{server}.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
# The common name of a certificate is the user.
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/,DEFAULT
listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER
listener.name.login.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {plain};
listener.name.login.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule \
required;
listener.name.login.oauthbearer.sasl.server.callback.handler.class=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.login.sasl.oauthbearer.jwks.endpoint.url=file://{folder}/jwks.json
listener.name.login.sasl.oauthbearer.expected.audience={audience}
listener.name.login.sasl.oauthbearer.expected.issuer={issuer}
# A session ends with its token, or after an hour.
listener.name.login.oauthbearer.connections.max.reauth.ms=3600000
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
# The listener of the controller is in the clear, on this machine alone: who comes that way has no name.
super.users=User:{admin};User:{server};User:ANONYMOUS
"""
    + kafka.ONE_NODE
)


@dataclass(frozen=True)
class SecuredKafka:
    """The broker that keeps all it has in `folder`: its data, the certificates, the logins."""

    folder: Path
    port: int = PORT
    jars: Path = Path(".servers/kafka")
    heap: str = "320m"

    @classmethod
    def from_environment(cls) -> SecuredKafka:
        """Beside the other servers."""
        where = Where.from_environment()
        port = int(os.environ.get("SECURED_KAFKA_PORT") or PORT)
        return cls(where.folder("secured-kafka"), port, where.jars_of("kafka"))

    @property
    def mutual_port(self) -> int:
        return self.port + 2

    @property
    def ca(self) -> Path:
        """The file of the authority that is trusted."""
        return self.folder / "ca.pem"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def password_file(self, user: str) -> Path:
        return self.folder / f"{user}.password"

    def password(self, user: str) -> str:
        return self.password_file(user).read_text()

    def certificate(self, user: str) -> Path:
        """The file with a user's key and certificate."""
        return self.folder / f"{user}.pem"

    def administrator(self) -> ClientFactory:
        """Who may do all."""
        access = {"kafka_user": ADMIN, "kafka_password": Secret(self.password(ADMIN)), "kafka_ca_file": str(self.ca)}
        how = {"kafka_security": "sasl_ssl", "kafka_sasl_mechanism": "SCRAM-SHA-512"}
        return ClientFactory.of(Settings(kafka_brokers=f"kafka://{HOST}:{self.port}", **access, **how))  # type: ignore[arg-type]

    def prepare(self) -> tuple[Authority, Issuer]:
        """Make authority, certificates, passwords and the key of tokens, anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        authority = Authority(self.folder)
        authority.issue_here(SERVER)
        for user in USERS:
            authority.issue(user)
            file = self.password_file(user)
            file.touch(mode=0o600)
            file.write_text(os.urandom(12).hex())
        return authority, Issuer(self.folder / "jwks.json")

    def start(self, say: Callable[[str], None] = print) -> None:
        """Return when it answers. `prepare` comes before the first start. Raises `ServersError`."""
        java, libs = tools.java(), tools.fetch("kafka", self.jars)
        properties = self.folder / "server.properties"
        properties.touch(mode=0o600)
        properties.write_text(self._properties())
        if not (self.folder / "data" / "meta.properties").exists():
            logins = [f"{mechanism}=[name={user},password={self.password(user)}]"
                      for user in USERS for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")]  # fmt: skip
            kafka.format_data(java, libs, properties, [word for login in logins for word in ("--add-scram", login)])
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{self.folder}/jwks.json"
        memory = [f"-Xms{self.heap}", f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
        began = time.monotonic()
        process.spawn([java, *memory, allowed, "-cp", f"{libs}/*", "kafka.Kafka", properties], self.log, self.pid_file)
        while not self._answers():
            if process.running(self.pid_file) is None or time.monotonic() > began + START_SECONDS:
                raise ServersError(f"secured kafka: no answer. The end of {self.log}:\n{process.last_lines(self.log)}")
            time.sleep(0.1)
        say(f"secured kafka: answers on {HOST}:{self.port} after {time.monotonic() - began:.1f} s")

    def stop(self, grace: float = 30.0) -> str:
        """End it; the outcome, for people."""
        return process.terminate(self.pid_file, grace)

    def _properties(self) -> str:
        users = " ".join(f'user_{user}="{self.password(user)}"' for user in USERS)
        return PROPERTIES.format(
            host=HOST,
            port=self.port,
            controller=self.port + 1,
            mutual=self.mutual_port,
            folder=self.folder,
            server=SERVER,
            admin=ADMIN,
            plain=users,
            audience=AUDIENCE,
            issuer=ISSUER,
        )

    def _answers(self) -> bool:
        """Whether it takes connections: it opens its ports when it is in service."""
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except OSError:
            return False
        return True


def main(arguments: list[str]) -> int:
    """`up`, `down`, `grant` or `revoke`; the exit code."""
    server = SecuredKafka.from_environment()
    match arguments:
        case ["up"]:
            if process.running(server.pid_file) is None:
                if not server.ca.exists():
                    server.prepare()
                server.start()
            print(f"the authority: {server.ca}; of each user <name>.password and <name>.pem in {server.folder}")
        case ["down"]:
            print(f"secured kafka: {server.stop()}")
        case ["grant" | "revoke" as change, user, operation, *resources] if operation in OPERATIONS and resources:
            asyncio.run({"grant": grant, "revoke": revoke}[change](server.administrator(), user, operation, *resources))
        case _:
            print(
                "use: python -m servers.secured up | down | grant USER OPERATION RESOURCE.. | revoke",
                file=sys.stderr,
            )
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
