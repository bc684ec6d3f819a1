"""`acls` and `grants` of the apps of this project, as a shell sees them. No server is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def printed(*arguments: str, **settings: str) -> list[str]:
    """The lines that a command prints."""
    mine = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ended = subprocess.run(
        [sys.executable, "-m", "faust", "-A", *arguments],
        cwd=ROOT,
        env={**mine, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout.splitlines()


def operations(*arguments: str, **settings: str) -> dict[str, list[str]]:
    """By topic or group what is printed as JSON."""
    found = (json.loads(line) for line in printed(*arguments, "--json", **settings))
    return {acl["name"]: acl["operations"] for acl in found}


def test_who_publishes() -> None:
    """The projections, unless a tail does apart: then they only read events."""
    events = {
        "projections": operations("projections.shop.app", "acls")["order-events"],
        "without": operations("projections.shop.app", "acls", PUBLISH="off")["order-events"],
        "tail": operations("projections.shop.tail", "acls")["order-events"],
    }
    assert events == {
        "projections": ["Read", "Write", "DescribeConfigs"],
        "without": ["Read"],
        "tail": ["Read", "Write", "DescribeConfigs"],
    }


def test_lines_for_a_shell() -> None:
    """In the namespace, for the principal that is named, with the prefixes of replies."""
    lines = printed(
        "streams.shop.orders", "acls", "--principal", "User:CN=o", NAMESPACE="n_", REPLY_TOPICS="crm-, n_in"
    )
    assert all(
        line.startswith("kafka-acls --bootstrap-server 127.0.0.1:9092 --add --allow-principal User:CN=o ")
        for line in lines
    )
    ends = [line.partition(" --operation ")[2] for line in lines]
    assert "Write --operation DescribeConfigs --topic crm- --resource-pattern-type prefixed" in ends
    assert "Write --operation DescribeConfigs --topic n_in --resource-pattern-type prefixed" in ends
    assert "Read --group n_orders" in ends
    assert all("n_" in line or "crm-" in line for line in lines)


def test_grants_of_each_store() -> None:
    """CQL or SQL, of the databases of the settings; a file of SQLite has no users; no password is shown."""
    cassandra = printed("streams.shop.orders", "grants", JOURNAL_URL="cassandra://admin:canary@db/shop")
    assert "-- JOURNAL_URL: Cassandra at db:9042" == cassandra[0]
    assert 'GRANT MODIFY ON TABLE shop_orders.commits TO "orders";' in cassandra
    postgres = printed("streams.shop.orders", "grants", "--user", "me", JOURNAL_URL="postgresql://me:canary@a,b:1/shop")
    assert "-- JOURNAL_URL: PostgreSQL at a:1,b:1, database shop" == postgres[0]
    assert 'GRANT INSERT ON shop_orders.commits TO "me";' in postgres
    assert [] == printed("streams.shop.orders", "grants", JOURNAL_URL="sqlite:///shop.db")
    assert "canary" not in "\n".join([*cassandra, *postgres])
