"""Kafka brokers as companies run theirs: TLS, logins, and nothing that is not granted. One, or three of a cluster."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from servers import kafka, process, tools
from servers.secured.certificates import Authority
from servers.secured.tokens import AUDIENCE, ISSUER, Issuer
from servers.where import BRIEF, HOST, ServersError, Where
from streams.kafka.client_factory import ClientFactory
from streams.security.secret import Secret
from streams.settings import Settings

PORT = 9094
"""Of the first broker's listener with logins; its controller has the next port, the one for certificates the one after
that. The ports of each further broker are as far on as those of brokers in the clear."""
ADMIN = "admin"
USERS = (ADMIN, "orders", "products", "users", "checkout", "projections", "nobody")
"""Who has a login. All but the administrator have no right that was not granted."""
SERVER, WEB = "broker", "web"
"""Whose certificates are for this machine: the brokers', and one for web ports of workers."""
START_SECONDS = 120.0

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required {};"
PROPERTIES = """\
# Written by `python -m servers.secured up`; edits are lost at the next start.
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=LOGIN://{host}:{port},CONTROLLER://{host}:{controller},MUTUAL://{host}:{mutual}
advertised.listeners=LOGIN://{host}:{port},MUTUAL://{host}:{mutual}
listener.security.protocol.map=LOGIN:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=MUTUAL
log.dirs={data}
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
listener.name.login.plain.sasl.jaas.config={plain}
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
# The listener of the controllers is in the clear, on this machine alone: who comes that way has no name.
super.users=User:{admin};User:{server};User:ANONYMOUS
"""


@dataclass(frozen=True)
class Broker:
    """One of the brokers: `number` counts from 1, `folder` has its data, its log and its pid alone."""

    number: int
    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def mutual(self) -> str:
        """The address of the listener for certificates."""
        return f"{HOST}:{self.port + 2}"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def answers(self) -> bool:
        """Whether it takes connections: it opens its ports when it is in service."""
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class SecuredKafka:
    """The brokers that keep all they have in `folder`: the certificates, the logins, and a folder for each."""

    folder: Path
    port: int = PORT
    jars: Path = Path(".servers/kafka")
    heap: str = "320m"
    is_brief: bool = True
    """Whether it is for minutes, and not to be measured."""
    count: int = 1
    more: str = ""
    """Lines of `server.properties` that count before those of the same name."""

    @classmethod
    def from_environment(cls, count: int | None = None) -> SecuredKafka:
        """Beside the other servers; as many as there are unless told. Raises `ServersError` where there are others."""
        where = Where.from_environment()
        folder = where.folder("secured-kafka")
        there = len([*folder.glob("*/data")])
        if count and there and count != there:
            raise ServersError(f"secured kafka: {folder} has {there} broker(s), not {count}: delete it to begin afresh")
        port = int(os.environ.get("SECURED_KAFKA_PORT") or PORT)
        return cls(folder, port, where.jars_of("kafka"), count=count or there or 1)

    @property
    def brokers(self) -> list[Broker]:
        """All of them, in the order of their numbers."""
        numbered = enumerate(kafka.ports(self.port, self.count), 1)
        return [Broker(number, port, self.folder / str(number)) for number, port in numbered]

    @property
    def servers(self) -> list[str]:
        """Where they take logins, each `host:port`."""
        return [broker.address for broker in self.brokers]

    @property
    def mutual_servers(self) -> list[str]:
        """Where they take certificates, each `host:port`."""
        return [broker.mutual for broker in self.brokers]

    @property
    def ca(self) -> Path:
        """The file of the authority that is trusted."""
        return self.folder / "ca.pem"

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
        how = {"kafka_security": "sasl_ssl", "kafka_sasl_mechanism": "PLAIN"}  # which a container offers, too
        urls = ";".join(f"kafka://{server}" for server in self.servers)
        return ClientFactory.of(Settings(kafka_brokers=urls, **access, **how))  # type: ignore[arg-type]

    def prepare(self) -> tuple[Authority, Issuer]:
        """Make authority, certificates, passwords and the key of tokens, anew; and for compose.secured.yaml the setting
        that has the passwords."""
        shutil.rmtree(self.folder, ignore_errors=True)
        authority = Authority(self.folder)
        authority.issue_here(SERVER)
        authority.issue_here(WEB)
        for user in USERS:
            authority.issue(user)
            file = self.password_file(user)
            file.touch(mode=0o600)
            file.write_text(os.urandom(12).hex())
        container = self.folder / "compose.env"
        container.touch(mode=0o600)
        container.write_text(f"KAFKA_LISTENER_NAME_LOGIN_PLAIN_SASL_JAAS_CONFIG='{PLAIN.format(self._users())}'\n")
        return authority, Issuer(self.folder / "jwks.json")

    def start(self, say: Callable[[str], None] = print, *numbers: int) -> None:
        """Return when they answer, or those of these numbers: two of three make a quorum. `prepare` comes before the
        first start. Raises `ServersError`."""
        began, java, libs = time.monotonic(), tools.java(), tools.fetch("kafka", self.jars)
        named = [broker for broker in self.brokers if broker.number in (numbers or range(self.count + 1))]
        for broker in named:
            if process.running(broker.pid_file) is None:
                process.spawn(self._command(broker, java, libs), broker.log, broker.pid_file)
        for broker in named:
            while not broker.answers:
                if process.running(broker.pid_file) is None or time.monotonic() > began + START_SECONDS:
                    end = process.last_lines(broker.log)
                    raise ServersError(f"secured kafka: no answer. The end of {broker.log}:\n{end}")
                time.sleep(0.1)
            say(f"secured kafka: answers on {broker.address} after {time.monotonic() - began:.1f} s")

    def stop(self, grace: float = 30.0) -> str:
        """End them all; the outcome, for people."""
        with ThreadPoolExecutor(max_workers=self.count) as pool:
            how = pool.map(lambda broker: process.terminate(broker.pid_file, grace), self.brokers)
            return ", ".join(how)

    def _command(self, broker: Broker, java: Path, libs: Path) -> list[str | Path]:
        """Write a broker's configuration, format its data if they are new, and return the command that starts it."""
        broker.folder.mkdir(exist_ok=True)
        properties = broker.folder / "server.properties"
        properties.touch(mode=0o600)
        properties.write_text(self._properties(broker))
        if not (broker.data / "meta.properties").exists():
            logins = [f"{mechanism}=[name={user},password={self.password(user)}]"
                      for user in USERS for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")]  # fmt: skip
            options = [word for login in logins for word in ("--add-scram", login)]
            kafka.format_data(java, libs, properties, kafka.cluster_id_in(self.folder), options)
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{self.folder}/jwks.json"
        heap = kafka.memory(self.heap, *([BRIEF] if self.is_brief else []))
        return [java, *heap, allowed, "-cp", f"{libs}/*", "kafka.Kafka", properties]

    def _users(self) -> str:
        """Who may log in by PLAIN."""
        return " ".join(f'user_{user}="{self.password(user)}"' for user in USERS)

    def _properties(self, broker: Broker) -> str:
        return (
            PROPERTIES.format(
                number=broker.number,
                voters=kafka.voters(HOST, [each.port for each in self.brokers]),
                host=HOST,
                port=broker.port,
                controller=broker.port + 1,
                mutual=broker.port + 2,
                folder=self.folder,
                data=broker.data,
                server=SERVER,
                admin=ADMIN,
                plain=PLAIN.format(self._users()),
                audience=AUDIENCE,
                issuer=ISSUER,
            )
            + kafka.replicated(self.count)
            + self.more
        )
