"""The folder that a worker writes to and the address that it listens on: looked at before anything else is done."""

from __future__ import annotations

import errno
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.settings import SettingsError


@contextmanager
def room_or_not(folder: Path) -> Iterator[None]:
    """Leave out the rest of what is written here when the disk is full: that is no setting, and the tables say so and
    end the worker with a status of its own. Raises `SettingsError` for any other trouble."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            help = "choose a folder that can be written with --datadir or DATA_DIR"
            raise SettingsError(f"{folder.absolute()}: {error.strerror}: {help}") from None


def check_folder(folder: Path) -> None:
    """Make the folder of a worker's own files where it is missing. Raises `SettingsError` if it cannot be written."""
    with room_or_not(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def claim_folder(folder: Path, app: str, partitions: int, cluster: str) -> None:
    """Make a folder that of an app's tables. They are copies of changelogs, and another system has others by the same
    names.

    `app` is its consumer group, with the namespace. Raises `SettingsError` where the folder is another's.
    """
    file, ours = folder / "belongs-to", f"{app}, PARTITIONS={partitions}, the Kafka cluster {cluster}"
    owner = ""
    with room_or_not(folder):
        owner = file.read_text(errors="replace").strip() if file.exists() else ""
        if not owner and folder.exists():
            file.write_text(ours + "\n")
    if owner and owner != ours:
        raise SettingsError(
            f"{folder.absolute()} has the tables of {owner}, and here is {ours}: choose another folder with --datadir"
            " or DATA_DIR, or delete it: the tables are made again"
        )


def check_listening(host: str, port: int) -> None:
    """Raise `SettingsError` when a worker cannot listen there."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in addresses[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            raise SettingsError(f"{where}: {reason}: choose another port with --web-port") from None
        raise SettingsError(
            f"{where}: {reason}: name an address of this machine with --web-bind, and with --web-host the one under"
            " which other workers reach it"
        ) from None


def where_to_listen(bind: str | None, host: str | None) -> tuple[str | None, str | None]:
    """Where to listen and the name to be told to the other workers, where one of them is given and not the other."""
    if host and not bind:
        return host, host
    if bind and not host:
        return bind, socket.gethostname() if bind in ("0.0.0.0", "::") else bind
    return bind, host
