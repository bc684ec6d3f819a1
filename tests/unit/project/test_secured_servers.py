"""The command line of the secured servers: what can be known without starting them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from servers.secured.__main__ import main
from servers.secured.kafka import ADMIN, USERS, SecuredKafka


def test_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can be granted, and it is said what to do."""
    monkeypatch.setenv("SERVERS_DIR", str(tmp_path))
    assert 1 == main(["grant", "orders", "Read", "topic:x"])
    assert "secured kafka: there is none: python -m servers.secured up\n" == capsys.readouterr().err


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", "nothing came of `acls --json`"),
        ("kafka-acls --add\n", "Expecting value"),
        ('{"resource": "topic"}\n', "not of `acls --json`: {'resource': 'topic'}"),
        (
            '{"principal": "User:orders", "resource": "topic", "name": "x", "pattern": "any", "operations": "x"}',
            "'any'",
        ),
        ("[]\n", "not of `acls --json`: []"),
    ],
)
def test_what_acls_does_not_print(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], printed: str, said: str
) -> None:
    """It is refused in one line, before anything is granted."""
    monkeypatch.setenv("SERVERS_DIR", str(tmp_path))
    SecuredKafka.from_environment().prepare()
    monkeypatch.setattr("sys.stdin", io.StringIO(printed))
    assert 1 == main(["apply"])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("no rights to grant: ")
    assert said in line


def test_the_folder_of_a_broker(tmp_path: Path) -> None:
    """Who it is for can be seen: a password and a certificate of each user, one for web ports, and none of them is for
    others to read."""
    SecuredKafka(tmp_path / "kafka").prepare()
    names = {file.name for file in (tmp_path / "kafka").iterdir()}
    assert ADMIN in USERS
    assert {f"{user}.{ending}" for user in USERS for ending in ("password", "pem")} | {"web.crt", "web.key"} <= names
    secret = [file for file in (tmp_path / "kafka").iterdir() if file.suffix in (".password", ".key", ".pem")]
    assert [] == [file.name for file in secret if file.stat().st_mode & 0o077 and file.name != "ca.pem"]
