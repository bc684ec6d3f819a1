"""Other people's environment variables have no effect: Faust would take each of its settings from one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faust.types.settings import Settings as FaustSettings

ROOT = Path(__file__).parents[3]
NAMES = sorted({param.env_name for param in FaustSettings.SETTINGS.values() if param.env_name})
OTHERS = ["NODE_HOSTNAME", "DEBUG", "F_DEBUG", "F_DATADIR", "FAUST_DATADIR", "F_WEB_BIND", "DJANGO_SETTINGS_MODULE"]
DUMP = """
import json, sys, importlib
app = importlib.import_module(sys.argv[1]).app
values = {name: str(getattr(app.conf, name)) for name in sorted(app.conf.SETTINGS)}
del values["reply_to"], values["web_application_options"]  # random, and an object
print(json.dumps({**values, "fixups": str(app.fixups), "id": app.conf.id}))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, with nothing else in the environment that any of this could be."""
    mine = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**mine, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "text"), [("streams.shop.orders", "tcp://10.0.0.1:80"), ("projections.shop.app", "1")]
)
def test_settings_of_faust(module: str, text: str) -> None:
    """All of them are as without those variables, of which any could be somebody's: Kubernetes makes `WEB_PORT` for a
    service called web."""
    assert {"BROKER_URL", "WEB_PORT", "CONSUMER_GROUP_INSTANCE_ID", "APP_DATADIR"} <= set(NAMES)
    alone = run("-c", DUMP, module)
    among = run("-c", DUMP, module, **dict.fromkeys([*NAMES, *OTHERS], text))
    assert (alone.returncode, among.returncode) == (0, 0), among.stderr
    assert json.loads(alone.stdout) == json.loads(among.stdout)


def test_the_command_line() -> None:
    """It does its work too."""
    done = run("-m", "faust", "-A", "streams.shop.orders", "schemas", "check", **dict.fromkeys([*NAMES, *OTHERS], "x"))
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("module", ["streams.shop.orders", "projections.shop.app"])
def test_where_a_worker_listens(module: str) -> None:
    """On this machine alone unless its command line says more, wherever Kafka is."""
    found = json.loads(run("-c", DUMP, module, KAFKA_BROKERS="kafka://kafka.example:9092").stdout)
    assert ("127.0.0.1", "127.0.0.1", "6066") == (found["web_bind"], found["web_host"], found["web_port"])


@pytest.mark.parametrize("brokers", [";", "SSL://127.0.0.1:9092", "kafka://me:secret@127.0.0.1:9092"])
def test_brokers_that_cannot_be_meant(brokers: str) -> None:
    """A command ends like a worker: one line that names the setting, status 2, and no password."""
    sent = run("-m", "faust", "-A", "streams.shop.orders", "send", "order", "1", "OpenOrder", KAFKA_BROKERS=brokers)
    assert (2, "") == (sent.returncode, sent.stdout)
    [line] = sent.stderr.splitlines()
    assert line.startswith("error: KAFKA_BROKERS")
    assert "secret" not in line
