"""The development servers: what can be known without starting them."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

import pytest

from servers import __main__ as command_line
from servers import cassandra, control, kafka, postgres, process, registry, tools
from servers.secured import kafka as secured_kafka
from servers.where import ServersError, Where, needed, used_instead, usual

ROOT = Path(__file__).parents[3]


def test_the_environment_says_where() -> None:
    """Folder and ports come from the environment; a second port follows from each."""
    where = Where.from_environment({"SERVERS_DIR": "other", "KAFKA_PORT": "19092", "CASSANDRA_PORT": ""})
    assert (Path("other").absolute(), 19092, 19093) == (where.root, where.kafka_port, where.controller_port)
    assert (9042, 7000, 5433) == (where.cassandra_port, where.storage_port, where.postgres_port)
    assert "http://127.0.0.1:8081/apis/ccompat/v7" == where.registry_url
    assert Where(cassandra_port=19042).storage_port == 19043


def test_three_nodes_are_one_cluster(tmp_path: Path) -> None:
    """Each node has an address and a folder of its own; all ask the first, and share the jars."""
    nodes = cassandra.nodes(Where(tmp_path, cassandra_port=19042))
    assert (3, 3, {"127.0.0.2"}) == (
        len({n.host for n in nodes}),
        len({n.root for n in nodes}),
        {n.seed for n in nodes},
    )
    assert {tmp_path / "cassandra"} == {node.jars_of("cassandra") for node in nodes}


def test_three_brokers_are_one_cluster(tmp_path: Path) -> None:
    """Each broker has ports, a number and a folder of its own; they have their voters, their id and the jars in
    common, and keep two copies of what they acknowledge."""
    brokers = kafka.cluster(Where(tmp_path, 19092))
    assert [19092, 19102, 19112] == [broker.kafka_port for broker in brokers]
    assert {"1@127.0.0.1:19093,2@127.0.0.1:19103,3@127.0.0.1:19113"} == {broker.voters for broker in brokers}
    assert {tmp_path / "kafka"} == {broker.jars_of("kafka") for broker in brokers}
    found = set()
    for broker in brokers:
        data = broker.folder("kafka") / "data"
        data.mkdir(parents=True)
        (data / "meta.properties").touch()  # formatted before
        kafka.command(broker, Path("java"), tmp_path)
        lines = (broker.folder("kafka") / "server.properties").read_text().splitlines()
        assert {"default.replication.factor=3", "min.insync.replicas=2"} <= set(lines)
        found |= {line for line in lines if line.startswith("node.id=")}
    assert {"node.id=1", "node.id=2", "node.id=3"} == found
    ids = {kafka.cluster_id_in(broker.root.parent) for broker in brokers}
    assert 1 == len(ids)


def test_one_broker_or_three(tmp_path: Path) -> None:
    """Unless told, those that run are meant. Where one runs, three are not started beside it, nor one where three
    run."""
    where = Where(tmp_path, 19092)
    alone, cluster = [where], kafka.cluster(where)
    assert (alone, cluster) == (control.places("kafka", where), control.places("kafka", where, 3))
    assert [where] == control.places("cassandra", where, 3)
    for running, other in ((alone, 3), (cluster, 1)):
        pid_file = running[-1].pid_file("kafka")
        process.record(pid_file, os.getpid())
        assert running == control.places("kafka", where) == control.places("kafka", where, len(running))
        with pytest.raises(ServersError, match="`make down` stops them"):
            control.places("kafka", where, other)
        pid_file.unlink()


@pytest.mark.parametrize("sync", ["periodic", "group", "batch"])
def test_commit_log_syncs_as_told(tmp_path: Path, sync: str) -> None:
    """COMMITLOG_SYNC stands in the configuration of the next start; what Cassandra does not know is refused."""
    where = Where.from_environment({"SERVERS_DIR": str(tmp_path), "COMMITLOG_SYNC": sync})
    (tmp_path / "jamm-1.jar").touch()
    cassandra.command(where, Path("java"), tmp_path)
    yaml = (where.folder("cassandra") / "cassandra.yaml").read_text().splitlines()
    assert [f"commitlog_sync: {sync}"] == [line for line in yaml if line.startswith("commitlog_sync:")]
    with pytest.raises(ServersError, match="COMMITLOG_SYNC"):
        Where.from_environment({"COMMITLOG_SYNC": "never"})


def test_cassandras_timers_may_ring_later(tmp_path: Path) -> None:
    """The process that is started, and all that it starts, has more timer slack than Linux gives. Elsewhere, and where
    that can not be said, it starts as well."""
    (tmp_path / "jamm-1.jar").touch()
    command = cassandra.command(Where(tmp_path), Path("java"), tmp_path)
    wrapper = command[: command.index(Path("java"))]
    told = subprocess.run([*wrapper, "cat", "/proc/self/timerslack_ns"], capture_output=True, text=True, check=True)
    assert (f"{cassandra.TIMER_SLACK}\n", "") == (told.stdout, told.stderr)
    elsewhere = [str(part).replace("/proc/", "/nowhere/") for part in wrapper]
    told = subprocess.run([*elsewhere, "echo", "started"], capture_output=True, text=True, check=True)
    assert ("started\n", "") == (told.stdout, told.stderr)


@pytest.mark.parametrize("port", ["x", "0", "65535", "-1"])
def test_a_bad_port_is_named(port: str) -> None:
    """A port that can not be used is refused by the name of its variable."""
    with pytest.raises(ServersError, match="CASSANDRA_PORT"):
        Where.from_environment({"CASSANDRA_PORT": port})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("kafka", "", None),
        ("kafka", "kafka://127.0.0.1:9092", None),
        ("kafka", "kafka://localhost", None),
        ("kafka", "kafka://b1:9092, kafka://127.0.0.1:9092", None),
        ("kafka", "kafka://u:secret@b1:9092;kafka://b2:9092", "KAFKA_BROKERS=kafka://b1:9092;kafka://b2:9092"),
        ("kafka", "kafka://127.0.0.1:9999", "KAFKA_BROKERS=kafka://127.0.0.1:9999"),
        ("cassandra", "cassandra://127.0.0.1:9042/other?replication=1", None),
        ("cassandra", "cassandra://localhost/shop", None),
        ("cassandra", "cassandra://h1,h2:9042/shop", "JOURNAL_URL=cassandra://h1,h2:9042/shop"),
        ("cassandra", "memory://", "JOURNAL_URL=memory://"),
        ("cassandra", "sqlite:///shop.db", "JOURNAL_URL=sqlite:///shop.db"),
        ("cassandra", "postgresql://me:secret@localhost/shop", "JOURNAL_URL=postgresql://localhost/shop"),
        ("postgres", "", None),
        ("postgres", "postgresql://shop@127.0.0.1:5433/other", None),
        ("postgres", "postgresql://me:secret@localhost/shop", "JOURNAL_URL=postgresql://localhost/shop"),
        ("postgres", "cassandra://localhost/shop", "JOURNAL_URL=cassandra://localhost/shop"),
        ("registry", "", None),
        ("registry", "http://me:secret@127.0.0.1:8081/apis/ccompat/v7/", None),
        ("registry", "http://127.0.0.1:8081", "SCHEMA_REGISTRY_URL=http://127.0.0.1:8081"),
        ("registry", "https://me:secret@sr.example/", "SCHEMA_REGISTRY_URL=https://sr.example/"),
    ],
)
def test_a_server_elsewhere_is_used_instead(name: str, value: str, expected: str | None) -> None:
    """Addresses of ours mean our server, all others are shown without their password and nothing is started."""
    variable = {"kafka": "KAFKA_BROKERS", "registry": "SCHEMA_REGISTRY_URL"}.get(name, "JOURNAL_URL")
    assert expected == used_instead(name, Where(), {variable: value})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", ["kafka", "cassandra"]),
        ("cassandra://localhost/shop", ["kafka", "cassandra"]),
        ("postgresql://shop@localhost:5433/shop", ["kafka", "postgres"]),
        ("sqlite:///shop.db", ["kafka"]),
    ],
)
def test_workers_need_the_server_of_their_journal(url: str, expected: list[str]) -> None:
    """`make start` starts no database that JOURNAL_URL does not name."""
    assert expected == needed({"JOURNAL_URL": url})


def test_a_registry_is_started_where_it_is_wanted() -> None:
    """Neither a plain `up` nor `make start` starts one, unless SCHEMA_REGISTRY_URL names one."""
    wanted = {"SCHEMA_REGISTRY_URL": Where().registry_url}
    assert (["kafka", "cassandra", "postgres"], ["kafka", "cassandra"]) == (usual({}), needed({}))
    assert ["kafka", "cassandra", "postgres", "registry"] == usual(wanted)
    assert ["kafka", "cassandra", "registry"] == needed(wanted)


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_292"', 8),
        ('openjdk version "21"', 21),
        ("", 0),
    ],
)
def test_java_versions_are_read(banner: str, expected: int) -> None:
    """Old and new forms of what `java -version` prints."""
    assert expected == tools.java_version(banner)


def test_the_commands_use_the_ports_of_the_environment(tmp_path: Path) -> None:
    """Both configurations name the folder and ports asked for, and the right main class is run."""
    where = Where(tmp_path, 19092, 19042)
    (where.folder("kafka") / "data").mkdir(parents=True)
    (where.folder("kafka") / "data" / "meta.properties").touch()  # formatted before
    assert "kafka.Kafka" in kafka.command(where, Path("java"), tmp_path)
    properties = (where.folder("kafka") / "server.properties").read_text()
    assert "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093" in properties
    with pytest.raises(ServersError, match="jamm"):
        cassandra.command(where, Path("java"), tmp_path)
    (tmp_path / "jamm-1.jar").touch()
    assert cassandra.command(where, Path("java"), tmp_path)[-1] == "org.apache.cassandra.service.CassandraDaemon"
    yaml = (where.folder("cassandra") / "cassandra.yaml").read_text()
    assert "native_transport_port: 19042\nstorage_port: 19043" in yaml


def test_postgres_uses_the_port_of_the_environment(tmp_path: Path) -> None:
    """Its configuration names the port asked for, and does not give up what makes a commit durable."""
    where = Where(tmp_path, postgres_port=15433)
    data = where.folder("postgres") / "data"
    data.mkdir(parents=True)  # made before
    assert [Path("bin/postgres"), "-D", data] == postgres.command(where, Path("bin"))[-3:]
    conf = (data / "postgresql.conf").read_text()
    assert "port = 15433\n" in conf
    assert "fsync = on\nsynchronous_commit = on\n" in conf
    assert "host shop shop 127.0.0.1/32 trust\n" in (data / "pg_hba.conf").read_text()


def test_the_registry_uses_the_port_of_the_environment(tmp_path: Path) -> None:
    """It listens there, on this machine only, with a heap that is bounded; a folder without the program is named."""
    where = Where(tmp_path, registry_port=18081)
    with pytest.raises(ServersError, match="no apicurio-registry-app"):
        registry.command(where, Path("java"), tmp_path)
    (tmp_path / "apicurio-registry-app-1-runner.jar").touch()
    command = registry.command(where, Path("java"), tmp_path)
    assert {"-Dquarkus.http.host=127.0.0.1", "-Dquarkus.http.port=18081", "-Xmx256m"} <= set(map(str, command))


def test_postgres_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Data that version 3 made needs version 3, and where there is no apt the message says so."""
    (tmp_path / "PG_VERSION").write_text("3\n")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServersError, match="PostgreSQL is missing and there is no apt-get"):
        tools.postgres(tmp_path)


def test_brokers_in_containers_are_where_they_are_without() -> None:
    """The files for Docker have the brokers at the ports of `make up`, in the same version."""
    one, three, secured = ((ROOT / f"compose{form}.yaml").read_text() for form in ("", ".brokers", ".secured"))
    ports = {int(port) for port in re.findall(r"PLAINTEXT://127\.0\.0\.1:(\d+)", one + three)}
    assert set(kafka.ports(9092, kafka.BROKERS)) == ports
    assert f"LOGIN://127.0.0.1:{secured_kafka.PORT},MUTUAL://127.0.0.1:{secured_kafka.PORT + 2}" in secured
    version = re.search(r"Apache Kafka ([\d.]+)", command_line.HELP)
    assert version
    assert {version[1]} == set(re.findall(r"apache/kafka:([\d.]+)", one + three + secured))


def test_a_cluster_id_has_16_bytes() -> None:
    """The form that Kafka's storage tool takes."""
    assert len(base64.urlsafe_b64decode(kafka.cluster_id() + "==")) == 16


def test_the_command_line_refuses_unknown_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """The message lists the names there are."""
    with pytest.raises(SystemExit) as ended:
        command_line.main(["up", "mongo"])
    assert ended.value.code == 2
    assert "use kafka, cassandra, postgres or registry" in capsys.readouterr().err
