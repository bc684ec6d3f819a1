"""The journal: the port, its specification in memory, and how commits, events and snapshots are read.

The fence: `append` of the next commit succeeds once, and whoever else tries gets `Fenced`. The stores are in
`cassandra` and `sql`; `streams.open_journal` chooses one.
"""
