"""Bearer tokens: made once, kept as hashes, taken back by taking out a line."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from multidict import CIMultiDict

from streams.access.access import Access, check_reach
from streams.access.principal import Identified, NotKnown, Principal
from streams.access.tokens import Tokens, new_token
from streams.cli.http import add_line
from streams.cli.run import CliError
from streams.security import renewed
from streams.security.renewed import Renewed
from streams.settings import Settings, SettingsError

GRANTS = '[[grants]]\nto = ["token:ci"]\nrole = "reader"\ncontexts = ["*"]\n'


def test_a_token_is_known_by_its_hash() -> None:
    """The file has no token in it; whoever has a token is the one of its line."""
    token, line = new_token("ci")
    other, other_line = new_token("deploy", datetime.now(UTC) + timedelta(days=1))
    assert token not in line
    tokens = Tokens.read(f"# tokens\n\n{line}  # of the pipeline\n{other_line}\n")
    assert "token:ci" == str(tokens.find(token).principal)
    assert tokens.find(token).until is None
    assert "token:deploy" == str(tokens.find(other).principal)
    for wrong in ("", "x", token[:-1], token + "x", token.upper(), line, "\udcff"):
        with pytest.raises(NotKnown):
            tokens.find(wrong)


def test_a_token_ends() -> None:
    """One that is past its time is nobody's."""
    token, line = new_token("ci", datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(NotKnown, match="expired"):
        Tokens.read(line).find(token)


@pytest.mark.parametrize(
    "line",
    ["ci", "ci secret", "ci sha256:abc", "ci sha1:" + "0" * 64, "a/b sha256:" + "0" * 64,
     "ci sha256:" + "0" * 64 + " soon", "ci sha256:" + "0" * 64 + " 2027-01-01T00:00:00"],
)  # fmt: skip
def test_a_line_that_is_none(line: str) -> None:
    """It is named by its number, and not shown: somebody may have put a token there."""
    with pytest.raises(ValueError, match="line 2") as raised:
        Tokens.read(f"\n{line}")
    assert line.split()[-1] not in str(raised.value)


def test_the_command(tmp_path: Path) -> None:
    """Lines are put one behind another into a file of its owner's own; one that is no file of tokens stays."""
    file = tmp_path / "tokens"
    (one, first), (two, second) = new_token("a"), new_token("b")
    add_line(file, first)
    add_line(file, second)
    assert 0o600 == file.stat().st_mode & 0o777
    tokens = Tokens.read(file.read_text())
    assert ["a", "b"] == [tokens.find(token).principal.name for token in (one, two)]
    file.write_text("something else")
    for path in (file, tmp_path / "nowhere" / "tokens"):
        with pytest.raises(CliError):
            add_line(path, first)
    assert "something else" == file.read_text()


def test_a_file_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It counts as it is now; one that cannot be read counts as it was, and that is said."""
    monkeypatch.setattr(renewed, "LOOK_SECONDS", 0.0)
    file = tmp_path / "number"
    file.write_text("1")
    watched = Renewed.of_text("NUMBER", str(file), int)
    assert 1 == watched.value
    file.write_text("22")
    assert 22 == watched.value
    file.write_text("no number")
    assert 22 == watched.value
    assert "NUMBER" in caplog.text
    file.unlink()
    assert 22 == watched.value
    file.write_text("3")
    os.utime(file, (1, 1))
    assert 3 == watched.value


def test_a_change_that_cannot_be_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was taken out must not go on to count since there was no descriptor when one looked."""
    monkeypatch.setattr(renewed, "LOOK_SECONDS", 0.0)
    file = tmp_path / "number"
    file.write_text("1")
    watched = Renewed.of_text("NUMBER", str(file), int)
    file.write_text("22")
    with monkeypatch.context() as full:

        def no_descriptor(*args: object, **options: object) -> object:
            raise OSError(errno.EMFILE, "Too many open files")

        full.setattr("io.open", no_descriptor)
        assert 1 == watched.value
    assert 22 == watched.value


async def test_headers(tmp_path: Path) -> None:
    """A token stands once in `Authorization`, as a bearer's; without one, nobody is known."""
    token, line = new_token("ci")
    (tmp_path / "tokens").write_text(line)
    (tmp_path / "grants").write_text(GRANTS)
    access = Access.of(Settings(http_tokens_file=str(tmp_path / "tokens"), http_grants_file=str(tmp_path / "grants")))
    assert access is not None

    def asks(*values: str) -> object:
        headers = CIMultiDict(("Authorization", value) for value in values)
        return access.identify(SimpleNamespace(headers=headers, transport=None))

    for good in (f"Bearer {token}", f"bearer  {token}"):
        assert "ci" == (await asks(good)).principal.name  # type: ignore[misc]
    for bad in ((), ("",), (token,), (f"Basic {token}",), (f"Bearer {token}", f"Bearer {token}"), ("Bearer ",)):
        with pytest.raises(NotKnown):
            await asks(*bad)  # type: ignore[misc]


async def test_a_certificate_that_ends(tmp_path: Path) -> None:
    """It was looked at when its connection was made, and that may be long ago: who shows it is known until it ends."""
    (tmp_path / "tokens").write_text(new_token("ci")[1])
    (tmp_path / "grants").write_text(GRANTS)
    access = Access.of(Settings(http_tokens_file=str(tmp_path / "tokens"), http_grants_file=str(tmp_path / "grants")))
    assert access is not None

    def shows(ends: datetime) -> object:
        not_after = ends.strftime("%b %d %H:%M:%S %Y GMT")
        shown = {"subject": ((("commonName", "alice"),),), "notAfter": not_after}
        return access.identify(
            SimpleNamespace(headers={}, transport=SimpleNamespace(get_extra_info={"peercert": shown}.get))
        )

    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    assert Identified(Principal("cert", "alice"), ends.timestamp()) == await shows(ends)  # type: ignore[misc]
    with pytest.raises(NotKnown, match="expired"):
        await shows(datetime.now(UTC) - timedelta(seconds=2))  # type: ignore[misc]


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(SettingsError) as raised:
        work()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    """Half of what is needed is refused, with what is missing."""
    grants = tmp_path / "grants"
    grants.write_text(GRANTS)
    (tmp_path / "tokens").write_text(new_token("ci")[1])
    tokens = str(tmp_path / "tokens")
    assert "HTTP_GRANTS_FILE" in refused(lambda: Access.of(Settings(http_tokens_file=tokens)))
    assert "HTTP_TOKENS_FILE" in refused(lambda: Access.of(Settings(http_grants_file=str(grants))))
    assert "HTTP_OIDC_AUDIENCE" in refused(lambda: Access.of(Settings(http_oidc_issuer="https://a.example")))
    both = {"http_grants_file": str(grants), "http_tokens_file": str(tmp_path / "none")}
    assert "No such file" in refused(lambda: Access.of(Settings(**both)))  # type: ignore[arg-type]
    grants.write_text("[[grants]]\nto = 1")
    assert "grants" in refused(lambda: Access.of(Settings(http_tokens_file=tokens, http_grants_file=str(grants))))
    assert Access.of(Settings()) is None


def test_where_one_may_listen() -> None:
    """Beyond this machine only with somebody to be known, or when that is said not to matter."""
    for bind in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        check_reach(Settings(), bind, None)
    for bind in ("0.0.0.0", "::", "10.0.0.7", "", "shop-1", "localhost.example"):
        assert "HTTP_INSECURE=yes" in refused(lambda bind=bind: check_reach(Settings(), bind, None))  # type: ignore[misc]
        check_reach(Settings(http_insecure=True), bind, None)
        check_reach(Settings(), bind, Access.__new__(Access))
    assert Settings.from_environment({"HTTP_INSECURE": "yes"}).http_insecure
    with pytest.raises(SettingsError, match="yes"):
        Settings.from_environment({"HTTP_INSECURE": "true"})
