"""What the environment says. Read by the composition roots only, and handed on from there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta

from streams.limits import MIB, Limits
from streams.observability.trace_settings import TraceSettings
from streams.security.access import MECHANISMS, PROTOCOLS, KafkaAccess
from streams.security.secret import NO_SECRET, Secret, SecretUnreadable

KAFKA_PORT = "9092"
_WORDS: dict[str, dict[str, Any]] = {
    "setup": {"always": "always", "never": "never", "auto": "auto"},
    "quarantine": {"on": True, "off": False},
    "publish": {"on": True, "off": False},
    "kafka_security": {word: word for word in PROTOCOLS},
    "kafka_sasl_mechanism": {word: word for word in MECHANISMS},
    "principal_required": {"yes": True, "no": False},
    "http_insecure": {"yes": True, "no": False},
}
_BROKERS = "kafka://host:9092, with ; or , between several"
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NAMESPACE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,47}|")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_TRACE_PAGE = re.compile(r"https?://[^\s/{}]+(/[^\s{}]*)?\{trace_id\}[^\s{}]*")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)
_NUMBERS: dict[type, tuple[re.Pattern[str], str]] = {int: (_WHOLE, "a whole number"), float: (_DECIMAL, "seconds")}

URLS = ("journal_url", "read_model_url", "schema_registry_url", "keys_url")
"""May have a password in them: `<NAME>_FILE` names a file that has one instead, and they are not shown."""

JOURNAL_SERVER = "cassandra://127.0.0.1:9042"
DATABASE = "sourced"
"""Where journals are, and the keyspace that they are in, unless an app or JOURNAL_URL says another."""


class SettingsError(Exception):
    """A setting that cannot be used; the message names it and says what would do."""


@dataclass(frozen=True)
class Settings(Limits, KafkaAccess, TraceSettings):
    """The contract's settings; defaults are right for servers on this machine."""

    kafka_brokers: str = "kafka://127.0.0.1:9092"
    journal_url: str = field(default=f"{JOURNAL_SERVER}/{DATABASE}", repr=False)
    namespace: str = ""
    reply_topics: str = ""
    """The beginnings of the topics that commands may name for their replies, separated by commas; empty: any."""
    read_model_url: str = field(default="", repr=False)
    """The database of what projections keep for all workers together; that of the journals, unless set."""
    partitions: Annotated[int, Meta(ge=1, le=4_096)] = 32
    logs: Annotated[int, Meta(ge=1, le=4_096)] = 2
    """The logs that an aggregate type begins with, of which each has its share of the partitions; no more than those.
    Of no effect where the journal has some."""
    replicas: Annotated[int, Meta(ge=0, le=100)] = 0
    """How often Kafka is to keep each topic that is made; 0: three times, or as often as it has brokers."""
    data_dir: Path = Path(".data")
    schema_registry_url: str = field(default="", repr=False)
    schema_registry_ca_file: str = ""
    schema_registry_token: Secret = NO_SECRET
    keys_url: str = field(default="", repr=False)
    """The database of the keys of persons; that of the journals, unless set."""
    key_management: str = ""
    """What wraps them: `vault+https://host:8200/transit`, `aws-kms://region`, or `file:///folder` for development."""
    key_management_token: Secret = NO_SECRET
    key_management_ca_file: str = ""
    key_days: Annotated[int, Meta(ge=1, le=365)] = 7
    """After so many days the living keys are wrapped anew, and what had wrapped them is destroyed."""
    key_lease_seconds: Annotated[float, Meta(ge=1, le=3_600)] = 60.0
    """For so long a worker uses a key that it has fetched."""
    key_cache: Annotated[int, Meta(ge=100, le=10_000_000)] = 50_000
    """The most keys of persons that a worker keeps in memory; each takes about 1 KB."""
    setup: str = "auto"
    """`always`, `never`, or `auto`: make keyspace and tables at start when the journal is on this machine."""
    publish: bool = True
    """Whether an app of projections publishes the events of its types; else an app of its own does."""
    cache_bytes: Annotated[int, Meta(ge=1, le=1 << 40)] = 256 * MIB
    """About the bytes of memory that a worker's aggregates may take, shared out among its logs."""
    dedupe_window: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """Command ids remembered per aggregate."""
    sse_clients: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """The most clients of a worker that follow rows or lists as streams of events."""
    sse_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 30.0
    """A client that takes nothing of its stream for so long is sent away."""
    audit_days: Annotated[int, Meta(ge=1, le=36_500)] = 400
    """For so long Kafka keeps what operators have ordered, when the topic of the audit is made."""
    http_allowed_hosts: str = ""
    """Names by which a worker is asked besides its own, separated by commas: `name` or `name:port`."""
    http_allowed_origins: str = ""
    """Sites whose pages may ask and give orders, separated by commas: `https://name[:port]`."""
    http_tokens_file: str = ""
    """The bearer tokens of those who may ask, hashed. See `streams.access.tokens`."""
    http_oidc_issuer: str = ""
    """The issuer of tokens, `https://..`, exactly as it calls itself."""
    http_oidc_audience: str = ""
    """For whom its tokens are to be."""
    http_grants_file: str = ""
    """Who may do what. See `streams.access.grants`."""
    http_tls_cert_file: str = ""
    """The certificate of a worker's web port, with what stands between it and its authority. Without it, no TLS."""
    http_tls_key_file: str = ""
    http_client_ca_file: str = ""
    """Who shows a certificate of these authorities has said who he is."""
    http_ca_file: str = ""
    """The authorities of workers' certificates, and of the issuer's, besides the system's."""
    http_token_file: str = ""
    """The bearer token with which the command line asks workers."""
    http_insecure: bool = False
    """Whether a worker may listen beyond this machine although nobody need say who he is."""
    http_client_streams: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """The most streams of events of one user, or of one address where nobody need say who he is."""
    http_client_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """The most connections of one address; that of this machine may have as many as there may be."""
    http_pending: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
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
        values: dict[str, Any] = {"journal_url": f"{JOURNAL_SERVER}/{database}"}
        for name, hint in get_type_hints(cls, include_extras=True).items():
            if hint is Secret:
                values[name] = _secret(name.upper(), environment)
            elif text := (_from_file(name, environment) if name in URLS else "") or environment.get(name.upper()):
                values[name] = _read(name, hint, _bare(name.upper(), text))
        return cls(**values)

    @classmethod
    def ranges(cls) -> dict[str, Meta]:
        """The least (`ge`) and the most (`le`) of each setting that is a number, by its name."""
        hints = get_type_hints(cls, include_extras=True)
        return {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}

    @property
    def reply_prefixes(self) -> tuple[str, ...]:
        """What `reply_topics` says."""
        return tuple(prefix for part in self.reply_topics.split(",") if (prefix := part.strip()))

    @property
    def bootstrap_servers(self) -> list[str]:
        """The brokers as `host:port`. Raises `SettingsError`."""
        return _brokers(self.kafka_brokers)


def whole_number(name: str, default: int, most: int, environment: Mapping[str, str] = os.environ) -> int:
    """A setting that one app alone has, from 1 to `most`. Raises `SettingsError`."""
    return int(_number(name, environment.get(name) or str(default), int, Meta(ge=1, le=most)))


def split_url(url: str, setting: str) -> SplitResult:
    """The parts of a URL. Raises `SettingsError`, which does not show it: it may have a password."""
    try:
        return urlsplit(url)
    except ValueError as error:
        text = "it is no URL: write special characters as %2F and the like" if "@" in url else str(error)
        raise SettingsError(f"{setting}: {text}") from None


def without_login(url: str) -> str:
    """A URL as it may be shown: without user and password."""
    return re.sub(r"//[^/?#]*@", "//", url)


def host_and_port(place: str, default: str) -> tuple[str, str]:
    """What stands before and behind the last `:` of a URL's place, which in `[::1]` is no port; `default` for none."""
    host, colon, port = place.rpartition(":")
    return (host, port) if colon and not place.endswith("]") else (place, default)


def is_here(url: str, setting: str) -> bool:
    """Whether a URL is of this machine alone. Raises `SettingsError`."""
    netloc = split_url(url, setting).netloc.rpartition("@")[2]
    hosts = [host_and_port(host, "")[0] for host in netloc.split(",")]
    return all(host in ("", "localhost", "[::1]") or host.startswith("127.") for host in hosts)


def is_port(text: str) -> bool:
    """Whether it is the number of a port that one can connect to."""
    return bool(_WHOLE.fullmatch(text)) and 1 <= int(text) <= 65_535


def _from_file(name: str, environment: Mapping[str, str]) -> str:
    """What stands in the file that `<NAME>_FILE` names; empty where that is not set. Raises `SettingsError`."""
    setting = f"{name.upper()}_FILE"
    if not (file := environment.get(setting)):
        return ""
    if environment.get(name.upper()):
        raise SettingsError(f"{setting} and {name.upper()} are both set: leave one of them out")
    try:
        text = Path(_bare(setting, file)).expanduser().read_text()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text, or there is no such user"
        raise SettingsError(f"{setting}={file}: {reason}") from None
    if not text.strip():
        raise SettingsError(f"{setting}={file}: it is empty")
    return text


def _read(name: str, hint: Any, text: str) -> Any:
    setting = name.upper()
    if hasattr(hint, "__metadata__"):
        return _number(setting, text, hint.__origin__, hint.__metadata__[0])
    if hint is Path:
        try:
            return Path(text).expanduser()
        except RuntimeError as error:  # there is no such user
            raise SettingsError(f"{setting}={text!r}: {error}") from None
    if name in _WORDS:
        *others, last = words = _WORDS[name]
        found = {word.casefold(): value for word, value in words.items()}
        if text.casefold() not in found:
            raise SettingsError(f"{setting}={text!r}: use {', '.join(others)} or {last}")
        return found[text.casefold()]
    if name == "kafka_brokers":
        return ";".join(f"kafka://{broker}" for broker in _brokers(text))
    if name == "reply_topics" and not all(_TOPIC.fullmatch(part.strip()) for part in text.split(",")):
        raise SettingsError(f"{setting}={text!r}: use the beginnings of topics, as `replies.`, with , between several")
    if name == "traces_url" and not _TRACE_PAGE.fullmatch(text):
        raise SettingsError(
            f"{setting}={text!r}: use a page with {{trace_id}}, as http://jaeger:16686/trace/{{trace_id}}"
        )
    if name == "namespace" and not _NAMESPACE.fullmatch(text):
        raise SettingsError(f"{setting}={text!r}: use letters, digits, '.', '_' and '-', a letter first, at most 48")
    return text


def _secret(setting: str, environment: Mapping[str, str]) -> Secret:
    """A secret as it is, or the file of it, which is to be readable."""
    value, file = environment.get(setting, ""), environment.get(f"{setting}_FILE", "")
    if value and file:
        raise SettingsError(f"{setting}_FILE: {setting} is set too: leave one of them out")
    secret = Secret(value, file=_bare(f"{setting}_FILE", file) if file else "", setting=setting)
    try:
        secret.reveal()
    except SecretUnreadable as error:
        raise SettingsError(str(error)) from None
    return secret


def _number(setting: str, text: str, type: type[int] | type[float], range: Meta) -> int | float:
    form, noun = _NUMBERS[type]
    least, most = float(range.ge or 0), float(range.le or 0)
    # Compared in this way round, a float that is not a number is not within.
    if form.fullmatch(text.strip()) and least <= (value := type(text)) <= most:
        return value
    raise SettingsError(f"{setting}={text!r}: use {noun}, {least:g} to {most:.0f}")


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


def _brokers(text: str) -> list[str]:
    """Each as `host:port`. They may stand with a scheme or without, with commas or semicolons between."""
    brokers = []
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
        brokers.append(f"{host}:{port}")
    if not brokers:
        raise SettingsError(f"KAFKA_BROKERS={text!r} names no broker: use {_BROKERS}")
    return list(dict.fromkeys(brokers))
