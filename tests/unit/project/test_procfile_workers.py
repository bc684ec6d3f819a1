"""The workers that `make start` and `make demo` run, and what the demo reads and asks."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from examples.demo import __main__ as demo
from examples.demo import answers
from servers import workers
from servers.where import ServersError, Where
from tests.unit.listener import listener


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
