"""What the environment says. Read by the composition roots only, and handed on from there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,47}|")


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and says what would do."""


@dataclass(frozen=True)
class Settings:
    """The contract's settings; defaults are right for servers on this machine."""

    kafka_brokers: str = "kafka://127.0.0.1:9092"
    journal_url: str = "cassandra://127.0.0.1:9042/shop"
    namespace: str = ""
    read_model_url: str = ""
    """The database of what projections keep for all workers together; that of the journals, unless set."""
    partitions: int = 8
    data_dir: Path = Path(".data")
    schema_registry_url: str = ""
    schema_registry_ca_file: str = ""
    setup: str = "auto"
    """`always`, `never`, or `auto`: make keyspace and tables at start when the journal is on this machine."""
    group_commands: int = 500
    """The most commands that share a commit."""
    group_bytes: int = 512 * 1024
    """The most bytes of events that share a commit."""
    group_linger: float = 0.005
    """Seconds that an owner waits for company when commands come fast; one that comes alone does not wait."""
    cache_bytes: int = 256 * 1024 * 1024
    """About the bytes of memory that a worker's aggregates may take, shared out among its partitions."""
    dedupe_window: int = 1_000
    """Command ids remembered per aggregate."""
    snapshot_every: int = 100
    """Events between two snapshots of an aggregate, at least."""
    queue_bytes: int = 4 * 1024 * 1024
    """Bytes of the messages that wait before a group, per partition."""
    command_bytes: int = 256 * 1024
    """The most bytes of a command: its data, key and headers."""
    events_per_command: int = 1_000
    """The most events that one command may cause."""
    event_bytes_per_command: int = 256 * 1024
    """The most bytes of events that one command may cause."""
    decide_attempts: int = 3
    """How often a command that makes the domain raise is tried."""
    quarantine: str = "off"
    """`on`: the later commands of an aggregate wait behind one that made the domain raise; `off`: they go on."""
    quarantine_limit: int = 1_000
    """The most commands that wait behind one aggregate in quarantine."""
    quarantine_bytes: int = 4 * 1024 * 1024
    """The most bytes of such commands."""
    sse_clients: int = 1_000
    """The most clients of a worker that follow rows or lists as streams of events."""
    sse_seconds: float = 30.0
    """A client that takes nothing of its stream for so long is sent away."""
    http_allowed_hosts: str = ""
    """Names by which a worker is asked besides its own, separated by commas: `name` or `name:port`."""
    http_allowed_origins: str = ""
    """Sites whose pages may give orders, separated by commas: `https://name[:port]`."""
    http_pending: int = 10_000
    """The most commands of an aggregate type that came over HTTP and have no reply yet, and of requests that wait."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings of this process. Raises `SettingsError`."""
        given = {
            name.upper(): environment[name.upper()]
            for name in cls.__dataclass_fields__
            if environment.get(name.upper())
        }
        if environment.get("CACHE_WEIGHT"):
            raise SettingsError(
                "CACHE_WEIGHT is CACHE_BYTES now: say about how many bytes of memory aggregates may take"
            )
        namespace = given.get("NAMESPACE", "")
        if not _NAMESPACE.fullmatch(namespace):
            raise SettingsError(
                f"NAMESPACE={namespace!r}: use letters, digits, '.', '_' and '-', a letter first, at most 48"
            )
        if given.get("SETUP", "auto") not in ("always", "never", "auto"):
            raise SettingsError(f"SETUP={given['SETUP']!r}: use always, never or auto")
        if given.get("QUARANTINE", "off") not in ("on", "off"):
            raise SettingsError(f"QUARANTINE={given['QUARANTINE']!r}: use on or off")
        values: dict[str, object] = {}
        for name, field in cls.__dataclass_fields__.items():
            text = given.get(name.upper())
            if text is None:
                continue
            try:
                values[name] = _READERS.get(str(field.type), str)(text)
            except ValueError as error:
                raise SettingsError(f"{name.upper()}={text!r}: {error}") from None
        return cls(**values)  # type: ignore[arg-type]

    @property
    def bootstrap_servers(self) -> list[str]:
        """The brokers as `host:port`."""
        return [url.rpartition("//")[2] for url in self.kafka_brokers.split(";") if url]


def whole_number(name: str, default: int, most: int, environment: Mapping[str, str] = os.environ) -> int:
    """A setting that one app alone has, from 1 to `most`. Raises `SettingsError`."""
    text = environment.get(name) or str(default)
    try:
        value = _positive_int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= most:
        raise SettingsError(f"{name}={text!r}: use a whole number, 1 to {most}")
    return value


def host_and_port(place: str, default: str) -> tuple[str, str]:
    """What stands before and behind the last `:` of a URL's place, which in `[::1]` is no port; `default` for none."""
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and not place.endswith("]") else (place, default)


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("must be 1 or more")
    return value


_READERS: dict[str, Callable[[str], object]] = {"int": _positive_int, "float": float, "Path": Path}
