"""The folder that a worker writes to and the address that it listens on: what is wrong is said in one line."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from streams.open_journal import open_journal
from streams.runtime.places import check_folder, check_listening, claim_folder, where_to_listen
from streams.runtime.worker_command import worker
from streams.settings import SettingsError


def test_a_folder_is_made(tmp_path: Path) -> None:
    """With those above it, also where there is a space in its name; nothing is left in it."""
    folder = tmp_path / "my data" / "orders"
    for _ in range(2):
        check_folder(folder)
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("below", ["file/orders", "file"])
def test_a_folder_that_cannot_be(tmp_path: Path, below: str) -> None:
    """The line names it, the reason, and the option."""
    (tmp_path / "file").touch()
    with pytest.raises(
        SettingsError, match=rf"{below}: (Not a directory|File exists): choose .* --datadir or DATA_DIR"
    ):
        check_folder(tmp_path / below)
    with pytest.raises(SettingsError, match="/proc/orders: No such file or directory: choose"):
        check_folder(Path("/proc/orders"))


def test_a_full_disk_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables end a worker that has no room, with a status of their own; a worker without tables needs none."""

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    check_folder(tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    (tmp_path / "belongs-to").touch()
    claim_folder(tmp_path, "a_projections", 8, "c1")


def test_a_folder_of_another_system(tmp_path: Path) -> None:
    """Its tables are copies of other changelogs: who comes with another namespace, number of partitions or cluster is
    told both sides, and whose it is comes back to it."""
    for _ in range(2):
        claim_folder(tmp_path, "a_projections", 8, "c1")
    others: list[tuple[str, int, str]] = [
        ("b_projections", 8, "c1"),
        ("a_projections", 4, "c1"),
        ("a_projections", 8, "c2"),
    ]
    for other in others:
        with pytest.raises(SettingsError, match=r"has the tables of a_projections, PARTITIONS=8, .* c1, and here is "):
            claim_folder(tmp_path, *other)
    claim_folder(tmp_path, "a_projections", 8, "c1")


def test_a_folder_whose_owner_was_cut_off(tmp_path: Path) -> None:
    """Where the disk was full when it was written down nobody is refused."""
    (tmp_path / "belongs-to").touch()
    claim_folder(tmp_path, "a_projections", 8, "c1")
    assert "a_projections, PARTITIONS=8, the Kafka cluster c1\n" == (tmp_path / "belongs-to").read_text()


def test_a_port_that_is_taken() -> None:
    """Another port is what helps."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"^127.0.0.1:{port}: Address already in use: choose .* --web-port$"):
            check_listening("127.0.0.1", port)
    check_listening("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.7", "nowhere.invalid", "a" * 70 + ".b", "2001:db8::7"])
def test_an_address_that_is_not_of_this_machine(host: str) -> None:
    """Another port would not help."""
    with pytest.raises(SettingsError, match="name an address of this machine with --web-bind") as refused:
        check_listening(host, 6066)
    assert "--web-port" not in str(refused.value)


@pytest.mark.parametrize(
    ("bind", "host", "expected"),
    [
        (None, None, (None, None)),
        (None, "10.1.2.3", ("10.1.2.3", "10.1.2.3")),
        ("10.1.2.3", None, ("10.1.2.3", "10.1.2.3")),
        ("0.0.0.0", None, ("0.0.0.0", socket.gethostname())),
        ("0.0.0.0", "me.example", ("0.0.0.0", "me.example")),
    ],
)
def test_one_option_says_both(bind: str | None, host: str | None, expected: tuple[str | None, str | None]) -> None:
    """Who names where it is reached listens there, and the other way round."""
    assert expected == where_to_listen(bind, host)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("proc/shop.db", "SQLite at /proc/shop_orders.db cannot be made: may this user write there?"),
        ("proc/folder/shop.db", "/proc/folder: No such file or directory"),
    ],
)
async def test_a_journal_in_a_folder_that_cannot_be_written(file: str, words: str) -> None:
    """`setup` would not help: the line names the setting, the place and the reason."""
    with pytest.raises(SettingsError) as refused:
        await open_journal(f"sqlite:////{file}", "", "orders").create()
    assert f"JOURNAL_URL: {words}" == str(refused.value)


@pytest.mark.parametrize("what", ["shop_orders.db", "."])
async def test_a_journal_that_is_read_only(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file or its folder may not be written, as in a container whose file system is read-only."""
    journal = open_journal(f"sqlite:///{tmp_path}/shop.db", "", "orders")
    await journal.create()
    locked = tmp_path / what
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != locked)
    with pytest.raises(SettingsError, match=f"^JOURNAL_URL: {locked} cannot be written by this user$"):
        await journal.open()


def test_what_the_help_says_of_it() -> None:
    """Faust's own has another default, and says nothing of the address."""
    says = {parameter.name: parameter.help for parameter in worker.as_click_command().params}
    assert "127.0.0.1" in says["web_bind"]
    assert "0.0.0.0" not in says["web_host"]
