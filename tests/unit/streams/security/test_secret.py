"""A secret is shown by nothing that holds it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from streams.security.secret import Secret, SecretUnreadable
from streams.settings import Settings, SettingsError

CANARY = "canary-7f3a"


def test_a_secret_is_not_shown() -> None:
    """Neither by itself, nor by what holds it, nor written to a file."""
    settings = Settings.from_environment(
        {
            "KAFKA_PASSWORD": CANARY,
            "KAFKA_KEY_PASSWORD": CANARY,
            "KAFKA_OAUTH_CLIENT_SECRET": CANARY,
            "JOURNAL_URL": f"postgresql://me:{CANARY}@here/db",
            "READ_MODEL_URL": f"postgresql://me:{CANARY}@here/db",
            "SCHEMA_REGISTRY_URL": f"https://me:{CANARY}@here",
        }
    )
    secret = settings.kafka_password
    assert CANARY == secret.reveal()
    shown = [repr(settings), str(settings), repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % secret]  # noqa: UP031
    assert [] == [text for text in shown if CANARY in text]
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def test_equal_secrets() -> None:
    """Settings with the same ones are the same, and share what is made for them."""
    assert Secret(CANARY) == Secret(CANARY) != Secret("other")
    assert hash(Secret(CANARY)) == hash(Secret(CANARY))
    assert Secret(CANARY)
    assert not Secret()
    assert CANARY != Secret(CANARY)


def test_the_file_of_a_secret(tmp_path: Path) -> None:
    """It is read anew at each use; the line break that an editor leaves is none of it."""
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    secret = Settings.from_environment({"KAFKA_PASSWORD_FILE": str(file)}).kafka_password
    assert CANARY == secret.reveal()
    file.write_text(" next ")
    assert " next " == secret.reveal()
    file.unlink()
    with pytest.raises(SecretUnreadable, match=r"KAFKA_PASSWORD_FILE=.*No such file"):
        secret.reveal()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"", "it is empty"), (b"\n", "it is empty"), (b"\xff", "no UTF-8")]
)
def test_a_file_that_has_none(tmp_path: Path, content: bytes | None, said: str) -> None:
    """It is said at start, with the setting and the file."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"^KAFKA_OAUTH_CLIENT_SECRET_FILE={file}: .*{said}"):
        Settings.from_environment({"KAFKA_OAUTH_CLIENT_SECRET_FILE": str(file)})


def test_a_secret_twice(tmp_path: Path) -> None:
    """By value and by file: which one is meant is not guessed."""
    with pytest.raises(SettingsError, match="KAFKA_PASSWORD is set too") as error:
        Settings.from_environment({"KAFKA_PASSWORD": CANARY, "KAFKA_PASSWORD_FILE": str(tmp_path)})
    assert CANARY not in str(error.value)
