"""Key management: each kind wraps and unwraps, and what it has destroyed is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from streams.journal.port import NotPermitted, Unavailable
from streams.keys.keys import Keys
from streams.keys.management.port import KeyDestroyed, KeyManagement
from streams.keys.opening import open_key_management
from streams.moments import now
from streams.settings import Settings, SettingsError
from tests.unit.streams.keys_world import aws, vault


@pytest_asyncio.fixture(params=["file", "vault", "aws"])
async def management(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KeyManagement]:
    """One of each kind."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    match request.param:
        case "file":
            yield _of(f"file://{tmp_path}/keys")
        case "vault":
            async with vault() as (address, _):
                yield _of(f"vault+http://{address}/transit", "s.token")
        case _:
            async with aws() as (address, _):
                yield _of(f"aws-kms+http://{address}/us-east-1")


def _of(url: str, token: str = "") -> KeyManagement:
    settings = {"KEY_MANAGEMENT": url, "KEY_MANAGEMENT_TOKEN": token, "JOURNAL_URL": "memory://"}
    return open_key_management(Settings.from_environment({name: text for name, text in settings.items() if text}))


async def test_a_secret_goes_there_and_back(management: KeyManagement) -> None:
    """What is wrapped is something else, is unwrapped by the same key alone, and is gone with it."""
    key, other = await management.create("sourced-1"), await management.create("sourced-2")
    wrapped = await management.wrap(key, b"secret")
    assert b"secret" not in wrapped
    assert await management.unwrap(key, wrapped) == b"secret"
    with pytest.raises(ValueError, match=r"\w"):
        await management.unwrap(other, wrapped)
    dead = await management.destroy(key)
    assert now() - timedelta(minutes=1) < dead <= now() + timedelta(days=8)
    await management.destroy(key)
    for _ in range(2):
        with pytest.raises(KeyDestroyed):
            await management.unwrap(key, wrapped)
        with pytest.raises(KeyDestroyed):
            await management.wrap(key, b"more")
    assert await management.unwrap(other, await management.wrap(other, b"its own")) == b"its own"
    await management.close()


async def test_a_refusal_and_silence_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong token is a right that is missing; a server that does not answer is waited for."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with vault() as (address, _):
        with pytest.raises(NotPermitted, match="permission denied"):
            await _of(f"vault+http://{address}/transit", "s.other").create("sourced-1")
    async with aws() as (address, _):
        with pytest.raises(NotPermitted, match="UnrecognizedClient"):
            await _of(f"aws-kms+http://{address}/us-east-1").create("sourced-1")
    with pytest.raises(Unavailable):
        await _of("vault+http://127.0.0.1:1/transit", "s.token").create("sourced-1")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://here", "use file:///folder"),
        ("vault+http://127.0.0.1", "KEY_MANAGEMENT_TOKEN"),
        ("file://", "use file:///folder"),
    ],
)
def test_what_cannot_be_used_is_refused(url: str, what: str) -> None:
    """A wrong setting is said in one line."""
    with pytest.raises(SettingsError, match=what) as error:
        _of(url)
    assert "\n" not in str(error.value)


def test_production_wants_key_management(tmp_path: Path) -> None:
    """On this machine keys stand in files where nothing is set; elsewhere that is refused."""
    here = Settings.from_environment({"JOURNAL_URL": "memory://", "DATA_DIR": str(tmp_path)})
    assert str(open_key_management(here)) == f"files in {tmp_path}/keys"
    for elsewhere in (
        {"JOURNAL_URL": "cassandra://db.example:9042/shop"},
        {"KEYS_URL": "postgresql://db.example/keys"},
    ):
        with pytest.raises(SettingsError, match="KEY_MANAGEMENT is not set"):
            Keys.of(Settings.from_environment({"JOURNAL_URL": "memory://", **elsewhere}))


async def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    """Nobody else on the machine reads them."""
    keys = _of(f"file://{tmp_path}/keys")
    await keys.create("sourced-1")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "sourced-1.key").stat().st_mode & 0o777 == 0o600
