"""Apache Cassandra for development and tests: a node alone, or three that are a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from servers.where import BRIEF, CLIENT, ServersError, Where

YAML = """\
# Written by `python3 -m servers up`; edits are lost at the next start.
cluster_name: development
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
dynamic_snitch: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{seed}:{storage_port}"
listen_address: {host}
rpc_address: {host}
native_transport_port: {port}
storage_port: {storage_port}
hinted_handoff_enabled: false
# Periodic: a write is acknowledged before it is forced to the disk, so a killed process can lose the last tenths of
# a second, and a machine that loses power the last 10 seconds. Right for development, and for three replicas on three
# machines; a single node in earnest wants `commitlog_sync: group`. The environment's COMMITLOG_SYNC says which.
{commitlog_sync}
# Paxos v2: fewer round trips, and contention is handled better. Operators: set it on every node.
paxos_variant: v2
# The derived rows are written in unlogged batches over several partitions, on purpose; at the defaults (5 KiB, 10
# partitions) each would log a line.
batch_size_warn_threshold: 1MiB
batch_size_fail_threshold: 5MiB
unlogged_batch_across_partitions_warn_threshold: 1000
# A dropped keyspace of a test is not kept.
auto_snapshot: false
"""

SECURED = """\
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
# What is granted or taken away counts at once: in tests nobody waits two seconds for it.
permissions_validity: 0ms
roles_validity: 0ms
credentials_validity: 0ms
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  keystore: {keystore}
  truststore: {truststore}
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
"""
"""With it there is the user `cassandra`, who may do everything, with the password `cassandra`."""

COMMITLOG_SYNC = {
    "periodic": "commitlog_sync: periodic\ncommitlog_sync_period: 10000ms",
    "group": "commitlog_sync: group\ncommitlog_sync_group_window: 5ms",
    "batch": "commitlog_sync: batch",
}
"""Periodic acknowledges before the disk has it; the other two afterwards: each write by itself, or those of 5 ms."""

LOGBACK = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5level [%thread] %logger{30} - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""

EXPORTS = (
    "java.base/jdk.internal.misc", "java.base/java.lang.ref", "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.sql/java.sql", "jdk.unsupported/sun.misc",
    "jdk.attach/sun.tools.attach",
)  # fmt: skip
OPENS = (
    "java.base/java.lang.module", "java.base/jdk.internal.loader", "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect", "java.base/jdk.internal.math", "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar", "java.base/sun.nio.ch", "java.base/java.io", "java.base/java.lang",
    "java.base/java.lang.reflect", "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/java.nio", "jdk.management/com.sun.management.internal",
)  # fmt: skip


CERTIFICATE = "cassandra"
"""The name of the certificate that is shown, which is made unless it is there."""

TIMER_SLACK = 500_000
"""Nanoseconds that Linux may let a timer be late.

Threads of Cassandra that have nothing to do look for work every 10 us, for 10 ms after each request, before they sleep
(`SEPWorker.doWaitSpin`). With the 50 us that Linux gives, that is half a core of a small machine at any load that does
not fill it; `docs/operations.md` tells operators. Threads have it from the process, and it from who starts it.
"""
PATIENT = ("sh", "-c", f'{{ echo {TIMER_SLACK} >/proc/$$/timerslack_ns; }} 2>/dev/null; exec "$@"', "cassandra")
"""Starts the command behind it with that slack; as it is where there is none, as on macOS."""

NODES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")


def nodes(where: Where) -> list[Where]:
    """Three nodes that are one cluster, each with a folder of its own. To be started in this order."""
    return [
        replace(where, root=where.root / f"node-{number}", host=host, seed=NODES[0], jars=where.jars or where.root)
        for number, host in enumerate(NODES, 1)
    ]


def command(where: Where, java: Path, libs: Path) -> list[str | Path]:
    """Write the configuration, and return the command that starts it. Raises `ServersError` when a jar is missing."""
    folder = where.folder("cassandra")
    data, yaml, logback = folder / "data", folder / "cassandra.yaml", folder / "logback.xml"
    data.mkdir(parents=True, exist_ok=True)
    yaml.write_text(
        YAML.format(
            host=where.host,
            port=where.cassandra_port,
            storage_port=where.storage_port,
            seed=where.seed or where.host,
            commitlog_sync=COMMITLOG_SYNC[where.commitlog_sync],
        )
    )
    if where.certificates:
        with yaml.open("a") as more:
            more.write(_secured(where.certificates))
    logback.write_text(LOGBACK)
    agent = next(libs.glob("jamm-*.jar"), None)  # measures objects, and must come in before the others
    if agent is None:
        raise ServersError(f"cassandra: no jamm jar in {libs}; delete that folder and try again")
    properties = {
        "cassandra.config": yaml.as_uri(),
        "cassandra.storagedir": data,
        "cassandra.logdir": folder,
        "logback.configurationFile": logback,
        "cassandra-foreground": "true",
        # One node has no other to wait for; three on one machine hear of each other soon.
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.ring_delay_ms": "2000" if where.seed else "100",
        "cassandra.superuser_setup_delay_ms": "0",
        # Of the passwords of a test; at 10, each new connection takes a tenth of a second of a core.
        "cassandra.auth_bcrypt_gensalt_log2_rounds": "4",
        "jdk.attach.allowAttachSelf": "true",
        "io.netty.tryReflectionSetAccessible": "true",
        # From Java 18 on, Cassandra's security manager must be asked for.
        "java.security.manager": "allow",
    }
    flags = [f"-D{name}={value}" for name, value in properties.items()]
    for option, packages in (("--add-exports", EXPORTS), ("--add-opens", OPENS)):
        flags += [f"{option}={package}=ALL-UNNAMED" for package in packages]
    is_brief = bool(where.seed or where.certificates)
    heap = "400m" if is_brief else "1g"
    memory = [f"-Xms{heap}", f"-Xmx{heap}", "-Xss256k", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError"]
    memory += [BRIEF] if is_brief else []
    return [*PATIENT, java, *memory, f"-javaagent:{agent}", *flags,
            "-cp", f"{libs}/*", "org.apache.cassandra.service.CassandraDaemon"]  # fmt: skip


def _secured(certificates: Path) -> str:
    from servers.secured.certificates import Authority  # it needs packages, which `up` does without

    authority = Authority(certificates)
    authority.client(CLIENT)
    shown = certificates / f"{CERTIFICATE}.pem"
    if not shown.exists():
        authority.server(CERTIFICATE)
    return SECURED.format(keystore=shown, truststore=authority.file)
