"""What `acls` and `grants` print of the rights that an app's parts say."""

from __future__ import annotations

import shlex

import pytest

from streams.journal.grants import Database, Role, journal_grants, read_model_grants, statements
from streams.kafka.topics import DAY, READ, WRITE, Topic
from streams.permissions.acls import Acl, acls, command, reaches_types
from streams.settings import SettingsError

CASSANDRA = Database("cassandra", "JOURNAL_URL", "Cassandra at db:9042", "shop_orders")
POSTGRES = Database("postgresql", "JOURNAL_URL", "PostgreSQL at db:5432, database shop", "shop_orders")


def topic(name: str, *needs: str) -> Topic:
    return Topic(name, 8, DAY, needs=needs)


def test_acls() -> None:
    """One for each topic, with all that is needed of it, and nothing where nothing is needed; prefixes; groups that it
    is in, and those that it looks at."""
    topics = [topic("a-events", READ), topic("a-commands", READ), topic("a-logs"), topic("a-events", WRITE)]
    assert acls(topics, ["g", "g"], ["replies."], ["h", "g"]) == [
        Acl("topic", "a-commands", "literal", ("Read", "DescribeConfigs")),
        Acl("topic", "a-events", "literal", ("Read", "Write", "DescribeConfigs")),
        Acl("topic", "replies.", "prefixed", ("Write", "DescribeConfigs")),
        Acl("group", "g", "literal", ("Read",)),
        Acl("group", "h", "literal", ("Describe",)),
    ]


def test_a_line_for_a_shell() -> None:
    """With everything quoted that a shell would take for its own."""
    acl = Acl("topic", "replies.", "prefixed", ("Write", "DescribeConfigs"))
    line = command(acl, "User:CN=orders, O=Me", ["k1:9092", "k2:9092"], "admin file.properties")
    assert shlex.split(line) == [
        *("kafka-acls", "--bootstrap-server", "k1:9092,k2:9092", "--command-config", "admin file.properties"),
        *("--add", "--allow-principal", "User:CN=orders, O=Me"),
        *("--operation", "Write", "--operation", "DescribeConfigs"),
        *("--topic", "replies.", "--resource-pattern-type", "prefixed"),
    ]
    assert "--resource-pattern-type" not in command(Acl("group", "g", "literal", ("Read",)), "User:x", ["k:1"])


@pytest.mark.parametrize("role", Role)
def test_nobody_changes_a_commit(role: Role) -> None:
    """Nor removes one: what SQL can tell apart from an insert is granted to no role."""
    granted = {grant.verb for grant in journal_grants(POSTGRES, role) if grant.table in ("commits", "*")}
    assert granted <= {"SELECT", "INSERT"}
    assert "DELETE" not in {grant.verb for grant in journal_grants(POSTGRES, role)}


def test_statements_of_postgres() -> None:
    """A tail reads everything, and notes how far it has published."""
    [(database, lines)] = statements(journal_grants(POSTGRES, Role.TAIL), 'me"; DROP')
    assert database == POSTGRES
    assert lines == [
        'GRANT USAGE ON SCHEMA shop_orders TO "me""; DROP";',
        'GRANT SELECT ON ALL TABLES IN SCHEMA shop_orders TO "me""; DROP";',
        'GRANT INSERT, UPDATE ON shop_orders.published TO "me""; DROP";',
    ]


def test_statements_of_cassandra() -> None:
    """By database, one after another; a reader writes nothing, a read model is its app's."""
    model = Database("cassandra", "READ_MODEL_URL", "Cassandra at db:9042", "shop_read_model_2")
    found = dict(statements(journal_grants(CASSANDRA, Role.READER) | read_model_grants(model), "me"))
    assert found == {
        CASSANDRA: ['GRANT SELECT ON KEYSPACE shop_orders TO "me";'],
        model: [
            'GRANT SELECT ON KEYSPACE shop_read_model_2 TO "me";',
            'GRANT MODIFY ON KEYSPACE shop_read_model_2 TO "me";',
        ],
    }


@pytest.mark.parametrize("user", ["", "a\nb"])
def test_no_name_of_a_user(user: str) -> None:
    """Nothing is made of what would be another line."""
    with pytest.raises(SettingsError, match=r"no name of a user"):
        list(statements(journal_grants(POSTGRES, Role.READER), user))


@pytest.mark.parametrize(
    ("prefix", "namespace", "reaches"),
    [
        ("order", "", True),
        ("crm-", "", True),
        ("replies.", "", False),
        ("shop.", "shop.", True),
        ("sho", "shop.", True),
        ("shop.order-", "shop.", True),
        ("shop.replies.", "shop.", False),
        ("crm.", "shop.", False),
    ],
)
def test_prefixes_of_replies(prefix: str, namespace: str, reaches: bool) -> None:
    """A right to write to all topics that begin so must not be one to write somebody's events."""
    assert reaches == reaches_types(prefix, namespace)
