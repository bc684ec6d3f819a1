"""What the environment says. Read by the composition roots only, and handed on from there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

KAFKA_PORT = "9092"
RECORD_BYTES = 1_000_000
"""What a topic takes as one record, as brokers are set (`max.message.bytes`), and leaves room for what is around it:
a larger command could not be sent, and a larger event not be published."""
LIMITS: dict[str, tuple[float, float]] = {
    "partitions": (1, 4_096),
    "group_commands": (1, 100_000),
    "group_bytes": (1, 64 * 1024 * 1024),
    "group_linger": (0, 10),
    "cache_bytes": (1, 1 << 40),
    "dedupe_window": (1, 1_000_000),
    "snapshot_every": (1, 1_000_000_000),
    "queue_bytes": (1, 1024 * 1024 * 1024),
    "command_bytes": (1, RECORD_BYTES),
    "events_per_command": (1, 1_000_000),
    "event_bytes_per_command": (1, RECORD_BYTES),
    "decide_attempts": (1, 100),
    "quarantine_limit": (1, 1_000_000),
    "quarantine_bytes": (1, 1024 * 1024 * 1024),
    "sse_clients": (1, 1_000_000),
    "sse_seconds": (0.1, 86_400),
    "http_pending": (1, 10_000_000),
}
"""The least and the most of each number: beyond them a worker would stand still, or end for want of memory."""

_WORDS = {"setup": ("always", "never", "auto"), "quarantine": ("on", "off")}
_BROKERS = "kafka://host:9092, with ; or , between several"
_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,47}|")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)

JOURNAL_SERVER = "cassandra://127.0.0.1:9042"
DATABASE = "sourced"
"""Where journals are, and the keyspace that they are in, unless an app or JOURNAL_URL says another."""


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and says what would do."""


@dataclass(frozen=True)
class Settings:
    """The contract's settings; defaults are right for servers on this machine."""

    kafka_brokers: str = "kafka://127.0.0.1:9092"
    journal_url: str = f"{JOURNAL_SERVER}/{DATABASE}"
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
    def from_environment(cls, environment: Mapping[str, str] = os.environ, database: str = DATABASE) -> Settings:
        """The settings of this process. `database` is the keyspace of a journal whose JOURNAL_URL is not set.

        Raises `SettingsError`.
        """
        if environment.get("CACHE_WEIGHT"):
            raise SettingsError(
                "CACHE_WEIGHT is CACHE_BYTES now: say about how many bytes of memory aggregates may take"
            )
        values: dict[str, object] = {"journal_url": f"{JOURNAL_SERVER}/{database}"}
        for name, field in cls.__dataclass_fields__.items():
            setting = name.upper()
            if text := environment.get(setting):
                values[name] = _read(setting, name, str(field.type), _bare(setting, text))
        return cls(**values)  # type: ignore[arg-type]

    @property
    def bootstrap_servers(self) -> list[str]:
        """The brokers as `host:port`. Raises `SettingsError`."""
        return _brokers(self.kafka_brokers)


def whole_number(name: str, default: int, most: int, environment: Mapping[str, str] = os.environ) -> int:
    """A setting that one app alone has, from 1 to `most`. Raises `SettingsError`."""
    return _whole_number(name, environment.get(name) or str(default), 1, most)


def split_url(url: str, setting: str) -> SplitResult:
    """The parts of a URL. Raises `SettingsError`, which does not show it: it may have a password."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from None


def without_login(url: str) -> str:
    """A URL as it may be shown: without user and password."""
    return re.sub(r"//[^/?#]*@", "//", url)


def host_and_port(place: str, default: str) -> tuple[str, str]:
    """What stands before and behind the last `:` of a URL's place, which in `[::1]` is no port; `default` for none."""
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and not place.endswith("]") else (place, default)


def is_port(text: str) -> bool:
    """Whether it is the number of a port that one can connect to."""
    return bool(_WHOLE.fullmatch(text)) and 1 <= int(text) <= 65_535


def _read(setting: str, name: str, type: str, text: str) -> object:
    match type:
        case "int":
            return _whole_number(setting, text, *LIMITS[name])
        case "float":
            return _seconds(setting, text, *LIMITS[name])
        case "Path":
            try:
                return Path(text).expanduser()
            except RuntimeError as error:  # there is no such user
                raise SettingsError(f"{setting}={text!r}: {error}") from None
    if name == "kafka_brokers":
        return ";".join(f"kafka://{broker}" for broker in _brokers(text))
    if name in _WORDS and text not in _WORDS[name]:
        *words, last = _WORDS[name]
        raise SettingsError(f"{setting}={text!r}: use {', '.join(words)} or {last}")
    if name == "namespace" and not _NAMESPACE.fullmatch(text):
        raise SettingsError(f"{setting}={text!r}: use letters, digits, '.', '_' and '-', a letter first, at most 48")
    return text


def _bare(setting: str, text: str) -> str:
    """Without the space and the quotes around that a file of settings may have brought along."""
    bare = text.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'":
        bare = bare[1:-1].strip()
    if not bare:
        use = f"use {_BROKERS}" if setting == "KAFKA_BROKERS" else "leave it out, or say what it is to be"
        raise SettingsError(f"{setting}={text!r} is blank: {use}")
    if any(ord(character) < 32 for character in bare):
        use = f": use {_BROKERS}" if setting == "KAFKA_BROKERS" else ""
        raise SettingsError(f"{setting} has a control character in it{use}")
    return bare


def _whole_number(setting: str, text: str, least: float, most: float) -> int:
    if _WHOLE.fullmatch(text.strip()) and least <= (value := int(text)) <= most:
        return value
    raise SettingsError(f"{setting}={text!r}: use a whole number, {least:g} to {most:.0f}")


def _seconds(setting: str, text: str, least: float, most: float) -> float:
    # Compared in this way round, what is no number is not within.
    if _DECIMAL.fullmatch(text.strip()) and least <= (value := float(text)) <= most:
        return value
    raise SettingsError(f"{setting}={text!r}: use seconds, {least:g} to {most:.0f}")


def _brokers(text: str) -> list[str]:
    """Each as `host:port`. They may stand with a scheme or without, with commas or semicolons between."""
    found = []
    for part in re.split("[;,]", text.strip().strip("\"'")):
        scheme, slashes, place = part.strip().rpartition("//")
        if not scheme and not place:
            continue
        if slashes and scheme.lower() != "kafka:":
            raise SettingsError(f"KAFKA_BROKERS: {scheme}// is not spoken here: use {_BROKERS}")
        if "@" in place:
            raise SettingsError(f"KAFKA_BROKERS: a user and password are not taken here: use {_BROKERS}")
        host, port = host_and_port(place.removesuffix("/"), KAFKA_PORT)
        if not _HOST.fullmatch(host) or not is_port(port):
            raise SettingsError(f"KAFKA_BROKERS: {part.strip()!r} is not a broker: use {_BROKERS}")
        found.append(f"{host}:{port}")
    if not found:
        raise SettingsError(f"KAFKA_BROKERS={text!r} names no broker: use {_BROKERS}")
    return list(dict.fromkeys(found))
