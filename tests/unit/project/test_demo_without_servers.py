"""The demo where there is no Java: one process instead of servers and workers."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo import __main__ as demo
from examples.demo import without_servers
from servers import tools
from servers.where import ServersError


def test_without_java(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where none is to be had for servers that are needed, that is said, and the demo goes without."""

    def java() -> Path:
        raise ServersError("no Java 17 to 23")

    monkeypatch.setattr(tools, "java", java)
    monkeypatch.setattr(demo, "needed", lambda: ["kafka", "cassandra"])
    assert not demo._has_java(Console())
    assert "no Java 17 to 23" in capsys.readouterr().out
    monkeypatch.setattr(demo, "needed", lambda: ["postgres"])  # the servers of others
    assert demo._has_java(Console())


def test_all_of_the_shop_in_one(tmp_path: Path) -> None:
    """Its apps are those of this repository's table; it is started without the settings that lead to servers, and
    commands go to where it has its topics."""
    where = without_servers.places(tmp_path)
    assert ("streams.shop.products", "projections.shop.app") == (where.apps[0], where.apps[-1])
    given = {"KAFKA_BROKERS": "kafka://k1:9092", "JOURNAL_URL": "cassandra://c1:9042/shop", "NAMESPACE": "mine_"}
    environment = without_servers.environment_for(where, given)
    assert {"NAMESPACE": "mine_"} == {name: value for name, value in environment.items() if name != "PATH"}
    assert f"kafka://127.0.0.1:{where.broker_port}" == where.settings(environment)["KAFKA_BROKERS"]
    [worker] = without_servers.team(where, tmp_path / "logs", tmp_path)
    assert (where.port, ["dev", "--no-reload", "--data", str(tmp_path)]) == (
        worker.port,
        shlex.split(worker.command)[3:],
    )
