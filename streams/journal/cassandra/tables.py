"""The tables of a journal in Cassandra, and what the names and options mean to who operates them.

Rows are written once (`commits`, `events`) or replaced (`snapshots`, `published`, `logs`, `layouts`). Workers delete
nothing and nothing expires, so there are no tombstones, and repair and compaction stay cheap; only `journal verify
--repair` removes derived rows that are wrong.
"""

from __future__ import annotations

from streams.security.store_url import database_name

COMMITS_PER_BUCKET = 1000
"""Rows of a partition of `commits`: at 100 KB each they are 100 MB, which is as large as a partition should be."""

TABLES = {
    "identity": """
        CREATE TABLE IF NOT EXISTS {keyspace}.identity (
            one        int PRIMARY KEY,  -- 1
            context    text,
            namespace  text,
            partitions int,
            cluster    text,
            format     int
        ) WITH comment = 'Whose journal this is: one row, written once by a conditional insert, held against the
settings at every start.'""",
    "commits": """
        CREATE TABLE IF NOT EXISTS {keyspace}.commits (
            log         text,       -- <type>@<number>
            bucket      bigint,     -- nr / 1000
            nr          bigint,     -- 1, 2, 3, .. within the log, over all buckets
            epoch       bigint,
            owner       text,
            topic_id    text,
            indexed_nr  bigint,
            recorded_at timestamp,
            payload     blob,
            PRIMARY KEY ((log, bucket), nr)
        ) WITH comment = 'THE LOG, the only truth: append-only, by conditional inserts. Never write, delete or
expire rows here. payload: Avro single-object encoding, its schema is in the table schemas.'
          AND compaction = {{'class': 'SizeTieredCompactionStrategy'}}
          AND compression = {{'class': 'LZ4Compressor', 'chunk_length_in_kb': 64}}""",
    "layouts": """
        CREATE TABLE IF NOT EXISTS {keyspace}.layouts (
            type    text PRIMARY KEY,
            version bigint,
            layout  text
        ) WITH comment = 'Which logs a type has, with which slices, as JSON: replaced by conditional writes alone.'""",
    "logs": """
        CREATE TABLE IF NOT EXISTS {keyspace}.logs (
            log    text PRIMARY KEY,
            bucket bigint
        ) WITH comment = 'A bucket of commits that holds rows, to find the newest quickly. May be truncated.'""",
    "events": """
        CREATE TABLE IF NOT EXISTS {keyspace}.events (
            type           text,
            id             text,
            sequence       bigint,
            nr             bigint,
            idx            int,
            event          text,
            data           blob,
            command_id     text,
            correlation_id text,
            traceparent    text,
            command        text,       -- of the last row that a command caused: its type and the digest of its data
            principal      text,       -- who has sent the command
            recorded_at    timestamp,
            PRIMARY KEY ((type, id), sequence, nr, idx)
        ) WITH comment = 'Derived from commits: the events of an aggregate. Without event: a command that had none.'
          AND compaction = {{'class': 'LeveledCompactionStrategy'}}
          AND compression = {{'class': 'LZ4Compressor', 'chunk_length_in_kb': 16}}""",
    "snapshots": """
        CREATE TABLE IF NOT EXISTS {keyspace}.snapshots (
            type     text,
            id       text,
            sequence bigint,
            nr       bigint,
            version  int,
            state    blob,
            PRIMARY KEY ((type, id))
        ) WITH comment = 'Derived: the state of an aggregate after commit nr. May be truncated, loading is slower then.'
          AND compaction = {{'class': 'LeveledCompactionStrategy'}}""",
    "schemas": """
        CREATE TABLE IF NOT EXISTS {keyspace}.schemas (
            fingerprint text PRIMARY KEY,
            avsc        text
        ) WITH comment = 'Avro schemas of payloads and events, by the CRC-64-AVRO fingerprint in their header.'""",
    "published": """
        CREATE TABLE IF NOT EXISTS {keyspace}.published (
            log text PRIMARY KEY,
            nr  bigint,
            idx int
        ) WITH comment = 'How far the events of a log were published, in case the topic does not say it.'""",
}

ADDED = ("ALTER TABLE {keyspace}.events ADD IF NOT EXISTS principal text",)
"""What tables of older versions lack."""


def keyspace_name(namespace: str, keyspace: str, context: str, setting: str = "JOURNAL_URL") -> str:
    """The keyspace of a context: `<namespace><keyspace>_<context>`. Raises `SettingsError`."""
    return database_name("keyspace", 48, namespace, keyspace, context, setting)


def create_keyspace(keyspace: str, datacenter: str, replication: int) -> str:
    """The statement that makes the keyspace; with a data center its replicas are there only."""
    if datacenter:
        options = "'class': 'NetworkTopologyStrategy', '{}': {}".format(datacenter.replace("'", "''"), replication)
    else:
        options = f"'class': 'SimpleStrategy', 'replication_factor': {replication}"
    return f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{{options}}}"
