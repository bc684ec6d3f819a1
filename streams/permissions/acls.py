"""What Kafka is to allow the user of a process: by topic and consumer group, and no more than it makes use of.

Nobody makes topics with these rights: `setup` does, with those of an administrator.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from streams.kafka.topics import (
    READ,
    WRITE,
    Needs,
    Topic,
    audit_topic,
    commands_topic,
    replies_topic,
    reply_topic,
    type_topics,
)
from streams.settings import Settings

DESCRIBE_CONFIGS = "DescribeConfigs"
"""To see how large a record may be, and whose clock dates it."""

DESCRIBE = "Describe"
OPERATES: Needs = {"commands": (WRITE,), "dead-letters": (READ, WRITE), "events": (READ,), "logs": (WRITE,)}
"""What somebody needs of the topics of a type who gives orders about it on the command line."""

Pattern = Literal["literal", "prefixed"]


class Acl(NamedTuple):
    """The operations on a topic or a group, or on all whose names begin so."""

    resource: Literal["topic", "group"]
    name: str
    pattern: Pattern
    operations: tuple[str, ...]


def acls(
    topics: Iterable[Topic], groups: Iterable[str], written_prefixes: Iterable[str] = (), watched: Iterable[str] = ()
) -> list[Acl]:
    """For what is needed of these topics, being a member of these groups, sending to topics with these prefixes, and
    looking at groups that are watched. To read or to write is to describe, too; what nothing is needed of is not among
    them."""
    needs: dict[str, set[str]] = defaultdict(set)
    for topic in topics:
        needs[topic.name].update(topic.needs)
    found = [Acl("topic", name, "literal", _operations(name, some)) for name, some in sorted(needs.items()) if some]
    found += [Acl("topic", name, "prefixed", _operations(name, {WRITE})) for name in sorted({*written_prefixes})]
    found += [Acl("group", name, "literal", (READ,)) for name in sorted({*groups})]
    return found + [Acl("group", name, "literal", (DESCRIBE,)) for name in sorted({*watched} - {*groups})]


def of_operators(settings: Settings, types: Iterable[str], group: str) -> list[Acl]:
    """For whoever gives orders on the command line, about types of an app that is this consumer group."""
    of_types = [
        topic for type in types for topic in type_topics(settings.namespace, type, settings.partitions, OPERATES)
    ]
    replies = reply_topic(replies_topic(settings.namespace), settings.partitions, READ)
    found = acls([*of_types, replies, audit_topic(settings.namespace, settings.audit_days, WRITE)], [])
    return [*found, Acl("group", group, "literal", (DESCRIBE,))]


def of_auditors(settings: Settings) -> list[Acl]:
    """For whoever prints the audit."""
    return acls([audit_topic(settings.namespace, settings.audit_days, READ)], [])


def reaches_types(prefix: str, namespace: str) -> bool:
    """Whether topics of aggregate types may begin so: to write to all that do is to write events of those, too. No
    type has a `.` in its name."""
    return namespace.startswith(prefix) or (prefix.startswith(namespace) and "." not in prefix[len(namespace) :])


def _operations(topic: str, needs: set[str]) -> tuple[str, ...]:
    asks = WRITE in needs or topic.endswith(commands_topic("", ""))
    return tuple(name for name in (READ, WRITE) if name in needs) + ((DESCRIBE_CONFIGS,) if asks else ())


def command(acl: Acl, principal: str, servers: Sequence[str], config: str = "") -> str:
    """The line for a shell that allows it to a principal; `config` is the file with the administrator's login."""
    words = ["kafka-acls", "--bootstrap-server", ",".join(servers)]
    words += ["--command-config", config] if config else []
    words += ["--add", "--allow-principal", principal]
    for operation in acl.operations:
        words += ["--operation", operation]
    words += [f"--{acl.resource}", acl.name]
    words += ["--resource-pattern-type", acl.pattern] if acl.pattern != "literal" else []
    return shlex.join(words)
