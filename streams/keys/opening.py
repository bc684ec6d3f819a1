"""Which rows and which key management the settings mean. What the others need is not imported."""

from __future__ import annotations

from streams.journal.grants import Grant, Verb
from streams.keys.management.file import FileKeys
from streams.keys.management.port import KeyManagement
from streams.keys.memory import MemoryKeyRows
from streams.keys.port import KeyRow, KeyRows
from streams.open_journal import database_of
from streams.settings import Settings, SettingsError, is_here, split_url, without_login

KEYS = "keys"
"""The name of the keyspace, schema or file behind the namespace, as contexts have one."""

TABLE = "subject_keys"

_rows: dict[tuple[str, str], dict[str, KeyRow]] = {}


def open_key_rows(url: str, namespace: str, setting: str = "KEYS_URL") -> KeyRows:
    """The rows of keys of a namespace, not connected yet. `memory://` gives every caller in this process with the same
    URL and namespace the same rows. Raises `SettingsError`, which names the setting that the URL is of."""
    match url.partition(":")[0]:
        case "cassandra":
            from streams.journal.cassandra.address import CassandraAddress
            from streams.journal.cassandra.tables import keyspace_name
            from streams.keys.cassandra import CassandraKeyRows

            cluster = CassandraAddress.parse(url, setting)
            return CassandraKeyRows(cluster, keyspace_name(namespace, cluster.keyspace, KEYS, setting))
        case "memory":
            return MemoryKeyRows(_rows.setdefault((url, namespace), {}))
        case "postgresql":
            from streams.journal.sql.postgres import PostgresAddress
            from streams.keys.sql import SqlKeyRows

            return SqlKeyRows(PostgresAddress.parse(url, namespace, KEYS, setting))
        case "sqlite":
            from streams.journal.sql.sqlite import SqliteAddress
            from streams.keys.sql import SqlKeyRows

            return SqlKeyRows(SqliteAddress.parse(url, namespace, KEYS, setting))
        case _:
            raise SettingsError(
                f"{setting}: use cassandra://host:9042/keyspace, postgresql://host:5432/database, sqlite:///file"
                " or memory://, or leave it out: then it is that of the journal"
            )


def open_key_management(settings: Settings) -> KeyManagement:
    """The key management of the settings. On one machine, where nothing is set, keys stand in files. Raises
    `SettingsError`."""
    text = settings.key_management
    if not text:
        if not is_development(settings):
            raise SettingsError(
                "KEY_MANAGEMENT is not set, and there is personal data: use vault+https://host:8200/transit,"
                " aws-kms://region, or for development file:///folder"
            )
        return FileKeys(settings.data_dir / KEYS)
    parts = split_url(text, "KEY_MANAGEMENT")
    match parts.scheme:
        case "file" if not parts.netloc and parts.path.strip("/"):
            return FileKeys.of_path(parts.path)
        case "vault+https" | "vault+http" if parts.hostname:
            from streams.keys.management.vault import VaultKeys

            return VaultKeys.of(settings, parts)
        case "aws-kms" | "aws-kms+http" if parts.netloc:
            from streams.keys.management.aws import AwsKeys

            return AwsKeys.of(settings, parts)
        case _:
            raise SettingsError(
                f"KEY_MANAGEMENT={without_login(text)!r}: use file:///folder, vault+https://host:8200/transit"
                " or aws-kms://region"
            )


def keys_url(settings: Settings) -> str:
    """Where the keys are: with the journals, unless a setting says another place."""
    return settings.keys_url or settings.journal_url


def keys_setting(settings: Settings) -> str:
    """The setting that says so."""
    return "KEYS_URL" if settings.keys_url else "JOURNAL_URL"


def is_development(settings: Settings) -> bool:
    """Whether journals and keys are on this machine: then keys in files will do."""
    return is_here(settings.journal_url, "JOURNAL_URL") and is_here(keys_url(settings), keys_setting(settings))


def keys_grants(settings: Settings) -> set[Grant]:
    """What a worker needs of the keys of persons: to read them, to make one, and to change one's state. Nobody deletes
    one. Nothing where the store has no users. Raises `SettingsError`."""
    database = database_of(keys_url(settings), settings.namespace, KEYS, keys_setting(settings))
    if database is None:
        return set()
    verbs: tuple[Verb, ...] = ("SELECT", "INSERT", "UPDATE")
    return {Grant(database, TABLE, verb) for verb in verbs}
