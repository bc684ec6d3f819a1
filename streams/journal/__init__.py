"""The journal: the port, its specification in memory, and how commits, events and snapshots are read.

The stores are in `cassandra` and `sql`; `streams.open_journal` chooses one.
"""
