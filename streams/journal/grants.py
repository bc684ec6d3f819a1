"""What the users of a database may do with the tables of a journal or a read model, and the statements that allow it.

Nobody makes tables with these rights: `setup` does, with those of an administrator.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Literal, NamedTuple

from streams.settings import SettingsError

Verb = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
VERBS: tuple[Verb, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")


class Role(Enum):
    """What a process does with a journal. An owner appends, and derives rows from what it has appended; a tail notes
    how far it has published; a reader reads. No one of them changes or removes a commit."""

    OWNER = "owner"
    TAIL = "tail"
    READER = "reader"


_KEEPS: tuple[Verb, ...] = ("INSERT", "UPDATE")
_WRITTEN: dict[Role, dict[str, tuple[Verb, ...]]] = {
    Role.OWNER: {
        "identity": ("INSERT",),
        "commits": ("INSERT",),
        "events": _KEEPS,
        "snapshots": _KEEPS,
        "layouts": _KEEPS,
        "schemas": _KEEPS,
    },
    Role.TAIL: {"published": _KEEPS},
    Role.READER: {},
}
_CASSANDRA_ONLY: dict[Role, dict[str, tuple[Verb, ...]]] = {Role.OWNER: {"logs": _KEEPS}}
"""Where to find the newest commit; in SQL an index says it."""
ANY = "*"
"""All tables of a database."""


@dataclass(frozen=True)
class Database:
    """A keyspace of Cassandra or a schema of PostgreSQL, at the URL of a setting."""

    kind: Literal["cassandra", "postgresql"]
    setting: str
    server: str
    """Where it is, for people: a grant is to be run there."""
    name: str


class Grant(NamedTuple):
    """The use of a table, or of `ANY` of its database."""

    database: Database
    table: str
    verb: Verb


def journal_grants(database: Database, role: Role) -> set[Grant]:
    """What a process of this role needs of a journal."""
    written = dict(_WRITTEN[role])
    if database.kind == "cassandra":
        written |= _CASSANDRA_ONLY.get(role, {})
    return {
        Grant(database, ANY, "SELECT"),
        *(Grant(database, table, verb) for table, verbs in written.items() for verb in verbs),
    }


def read_model_grants(database: Database) -> set[Grant]:
    """What a process needs that keeps tables in a read model."""
    return {Grant(database, ANY, verb) for verb in VERBS}


def statements(grants: Iterable[Grant], user: str) -> Iterator[tuple[Database, list[str]]]:
    """By database the statements, in CQL or SQL, that allow a user all of this. Raises `SettingsError`."""
    ordered = sorted(grants, key=lambda grant: (grant.database.setting, grant.database.name))
    for database, some in groupby(ordered, lambda grant: grant.database):
        verbs: dict[str, set[Verb]] = defaultdict(set)
        for grant in some:
            verbs[grant.table].add(grant.verb)
        render = _in_cassandra if database.kind == "cassandra" else _in_postgres
        yield database, list(render(database.name, dict(sorted(verbs.items())), quoted(user)))


def quoted(user: str) -> str:
    """The name of a user as a statement has it. Raises `SettingsError` for what no statement is to hold."""
    if not user or not user.isprintable():
        raise SettingsError(f"{user!r} is no name of a user")
    return '"' + user.replace('"', '""') + '"'


def _in_cassandra(keyspace: str, verbs: dict[str, set[Verb]], user: str) -> Iterator[str]:
    """Cassandra tells reading from writing, and no more: MODIFY is to insert, to update and to delete."""
    for table, some in verbs.items():
        place = f"KEYSPACE {keyspace}" if table == ANY else f"TABLE {keyspace}.{table}"
        if "SELECT" in some:
            yield f"GRANT SELECT ON {place} TO {user};"
        if some - {"SELECT"}:
            yield f"GRANT MODIFY ON {place} TO {user};"


def _in_postgres(schema: str, verbs: dict[str, set[Verb]], user: str) -> Iterator[str]:
    yield f"GRANT USAGE ON SCHEMA {schema} TO {user};"
    for table, some in verbs.items():
        place = f"ALL TABLES IN SCHEMA {schema}" if table == ANY else f"{schema}.{table}"
        yield f"GRANT {', '.join(verb for verb in VERBS if verb in some)} ON {place} TO {user};"
