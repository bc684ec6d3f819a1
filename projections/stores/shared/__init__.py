"""Tables in a database that all workers share: Cassandra, PostgreSQL, SQLite, or memory."""
