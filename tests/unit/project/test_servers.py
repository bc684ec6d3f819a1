"""The development servers: what can be known without starting them."""

from __future__ import annotations

import base64
import gzip
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import pytest

from examples.demo import __main__ as demo
from examples.demo import answers
from servers import __main__ as command_line
from servers import cassandra, control, kafka, postgres, process, registry, tools, workers
from servers.probe import Answer, probe
from servers.secured import kafka as secured_kafka
from servers.where import HOST, ServersError, Where, needed, used_instead, usual

ROOT = Path(__file__).parents[3]
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which every connection is handed to `answer`."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    answer(connection)

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def kafka_with(brokers: int) -> Callable[[socket.socket], None]:
    """Answers ApiVersions, then Metadata with that many brokers."""

    def answer(connection: socket.socket) -> None:
        for body in (struct.pack(">hi", 0, 0), struct.pack(">ii", 0, brokers)):
            correlation = connection.recv(1000)[8:12]
            connection.sendall(struct.pack(">i", 4 + len(body)) + correlation + body)

    return answer


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


@pytest.mark.parametrize(("brokers", "expected"), [(0, Answer.STARTING), (1, Answer.READY)])
def test_kafka_is_ready_when_it_lists_a_broker(brokers: int, expected: Answer) -> None:
    """ApiVersions alone is not enough: before the controller lets it serve, Kafka lists no broker."""
    with listener(kafka_with(brokers)) as port:
        assert expected is probe("kafka", port)


def test_cassandra_is_ready_when_options_are_answered() -> None:
    """SUPPORTED on the stream that asked."""
    with listener(
        lambda c: c.sendall(struct.pack(">BBhBi", 0x84, 0, struct.unpack(">BBhBi", c.recv(9))[2], 6, 0))
    ) as port:
        assert probe("cassandra", port) is Answer.READY


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"R\0\0\0\x08\0\0\0\0", Answer.READY),
        (b"E\0\0\0\x17SFATAL\0C57P03\0Mno\0\0", Answer.STARTING),
        (b"E\0\0\0\x17SFATAL\0C28000\0Mno\0\0", Answer.FOREIGN),
    ],
)
def test_postgres_is_ready_when_it_lets_our_user_in(answer: bytes, expected: Answer) -> None:
    """While it starts it answers with a certain error; one that does not know the user `shop` is a stranger."""
    with listener(lambda c: c.sendall(answer) if c.recv(1000) else None) as port:
        assert expected is probe("postgres", port)


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"HTTP/1.1 200 OK", Answer.READY), (b"HTTP/1.0 404 Not Found", Answer.FOREIGN)]
)
def test_registry_is_ready_when_it_lists_its_subjects(answer: bytes, expected: Answer) -> None:
    """Another HTTP server has no such page."""
    with listener(lambda c: c.sendall(answer + b"\r\n\r\n[]") if c.recv(1000) else None) as port:
        assert expected is probe("registry", port)


@pytest.mark.parametrize("name", ["kafka", "cassandra", "postgres", "registry"])
def test_a_stranger_on_the_port_is_told_apart(name: str) -> None:
    """What closes, talks otherwise or stays silent is foreign; where nothing listens is closed."""
    with listener(lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")) as port:
        assert probe(name, port) is Answer.FOREIGN
    with listener(lambda c: None) as port:
        assert probe(name, port) is Answer.FOREIGN
    with listener(lambda c: time.sleep(0.5)) as port:
        assert probe(name, port, timeout=0.1) is Answer.FOREIGN
    assert probe(name, port) is Answer.CLOSED


def test_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    """Nothing is fetched or started when something else has the port."""
    with listener(lambda c: None) as port, pytest.raises(ServersError, match="KAFKA_PORT to a free port"):
        control.start("kafka", Where(tmp_path, kafka_port=port))


def test_a_server_that_ends_early_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows the end of the log; the time limit is not waited for."""
    monkeypatch.setattr(tools, "java", lambda: Path(sys.executable))
    monkeypatch.setattr(tools, "fetch", lambda name, folder: folder)
    monkeypatch.setitem(
        control._JAVA_COMMANDS, "kafka", lambda *_: [sys.executable, "-c", "raise SystemExit('no luck')"]
    )
    with listener(lambda c: None) as port:
        free = port
    began = time.monotonic()
    with pytest.raises(ServersError, match=r"ended before it answered[\s\S]*no luck"):
        control.start("kafka", Where(tmp_path, kafka_port=free), seconds=60, say=lambda line: None)
    assert time.monotonic() - began < 30


def test_a_process_is_stopped_by_its_pid_file(tmp_path: Path) -> None:
    """SIGTERM first; the file is gone afterwards, and once more does nothing."""
    pid_file = tmp_path / "pid"
    pid = process.spawn(SLEEPER, tmp_path / "log", pid_file)
    assert pid == process.running(pid_file)
    assert process.terminate(pid_file, 10) == "stopped"
    assert process.running(pid_file) is None
    assert process.terminate(pid_file, 10) == "was not running"


def test_a_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """SIGKILL comes when the grace time is over."""
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    process.spawn(STUBBORN, log, pid_file)
    while b"up" not in log.read_bytes():
        time.sleep(0.01)
    assert process.terminate(pid_file, 0.2).startswith("killed")


@pytest.mark.parametrize("content", ["", "x y", "{pid} another-boot/1"])
def test_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path, content: str) -> None:
    """A stale pid file never leads to a signal, though a process of that number runs."""
    with subprocess.Popen(SLEEPER) as stranger:
        try:
            pid_file = tmp_path / "pid"
            pid_file.write_text(content.format(pid=stranger.pid))
            assert process.running(pid_file) is None
            assert process.kill(pid_file) is False
            assert process.terminate(pid_file, 1) == "was not running"
            assert stranger.poll() is None
        finally:
            stranger.kill()


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


def test_workers_are_read_from_the_procfile(tmp_path: Path) -> None:
    """The repository's own Procfile has a port of its own for each worker."""
    text = (Path(__file__).parents[3] / "Procfile").read_text()
    team = workers.from_procfile(text, tmp_path, tmp_path, "demo-")
    ports = {worker.name: worker.port for worker in team}
    assert (6061, 6062, 6063, 6066) == tuple(ports[name] for name in ("products", "orders", "users", "projections"))
    assert len(team) == len(set(ports.values()))
    with pytest.raises(ServersError, match="no --web-port"):
        workers.from_procfile("orders: faust worker", tmp_path, tmp_path, "")


@pytest.mark.parametrize(("set_to", "folder"), [("/my data/of it", "/my data/of it"), ("", ".data")])
def test_a_folder_with_a_space_in_its_name(tmp_path: Path, set_to: str, folder: str) -> None:
    """Each worker of the Procfile gets the folder of its own as one argument."""
    text = (Path(__file__).parents[3] / "Procfile").read_text()
    for worker in workers.from_procfile(text, tmp_path, tmp_path, ""):
        shown = subprocess.run(
            ["/bin/sh", "-c", f"printf '%s\\n' {worker.command}"],
            env={"DATA_DIR": set_to},
            capture_output=True,
            text=True,
            check=True,
        )
        arguments = shown.stdout.splitlines()
        assert f"{folder}/{worker.name}" == arguments[arguments.index("--datadir") + 1]


@pytest.mark.parametrize("told", ["", "sqlite:///x.db"])
def test_all_journals_of_the_shop_are_in_one_place(tmp_path: Path, told: str) -> None:
    """The apps of the shop name its keyspace; the engine's timers, which know no shop, are told it by the Procfile."""
    text = (Path(__file__).parents[3] / "Procfile").read_text()
    show = "import importlib, sys; print(importlib.import_module(sys.argv[1]).app.settings.journal_url)"
    for worker in workers.from_procfile(text, tmp_path, tmp_path, ""):
        command = re.sub(r"faust -A (\S+) .*", rf"{sys.executable} -c '{show}' \1", worker.command)
        environment = {**os.environ, "JOURNAL_URL": told, "DATA_DIR": str(tmp_path)}
        shown = subprocess.run(
            ["/bin/sh", "-c", f"exec {command}"], env=environment, capture_output=True, text=True, check=True
        )
        assert (told or "cassandra://127.0.0.1:9042/shop") == shown.stdout.strip()


def test_workers_see_the_users_settings_first() -> None:
    """Defaults of the demo give way to what is set; servers on other ports are passed on."""
    seen = workers.environment_for(
        Where(kafka_port=19092), {"NAMESPACE": "mine_", "DATA_DIR": ""}, NAMESPACE="demo_", DATA_DIR="d"
    )
    assert ("mine_", "d", "kafka://127.0.0.1:19092") == (seen["NAMESPACE"], seen["DATA_DIR"], seen["KAFKA_BROKERS"])
    assert "JOURNAL_URL" not in seen


def test_a_worker_that_ends_shows_its_log(tmp_path: Path) -> None:
    """The demo does not wait for a worker that is gone."""
    with listener(lambda c: None) as port:
        free = port
    team = workers.from_procfile(f"orders: sh -c 'echo boom; exit 3' --web-port {free}", tmp_path, tmp_path, "")
    workers.start(team, dict(os.environ))
    with pytest.raises(ServersError, match=r"orders: has ended[\s\S]*boom"):
        workers.wait_ready(team, 30)
    assert workers.stop(team) == {"orders": "was not running"}


def test_a_port_in_use_stops_the_workers_start(tmp_path: Path) -> None:
    """No worker is started when one could not be."""
    with listener(lambda c: None) as port:
        team = workers.from_procfile(f"orders: exit --web-port {port}", tmp_path, tmp_path, "")
        with pytest.raises(ServersError, match="is in use"):
            workers.start(team, {})


@pytest.mark.parametrize("name", ["sales.csv", "sales.csv.gz"])
def test_the_demo_finds_the_first_sale(tmp_path: Path, name: str) -> None:
    """Credits, rows without customer and gifts are passed over; the month is that of the sale."""
    rows = [
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        "C1,a,,-1,2011-01-31 10:00,1,7.0,UK",
    ]
    rows += [
        "1,a,,1,2011-01-31 10:00,1,,UK",
        "2,a,,1,2011-01-31 10:00,0,7.0,UK",
        "3,a,caf\xe9,1,2011-02-01 10:00,1,7.0,UK",
    ]
    content = "\n".join(rows).encode("latin-1")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    first = demo.first_sale(tmp_path / name)
    assert ("3", date(2011, 2, 28)) == (first.invoice, first.end_of_month)
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(ServersError, match="can not be read"):
        demo.first_sale(tmp_path / name)


def test_lag_is_what_the_tables_lack() -> None:
    """The sum over the streams."""
    assert answers.lag({"streams": [{"stream": "order-0", "lag": 2}, {"stream": "order-1", "lag": 0}]}) == 2


def test_killed_by_signal_is_not_running(tmp_path: Path) -> None:
    """A crash from outside is seen, though nobody waited for the process."""
    pid_file = tmp_path / "pid"
    os.kill(process.spawn(SLEEPER, tmp_path / "log", pid_file), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process.running(pid_file) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.running(pid_file) is None
