"""From events to rows: reading, folding, keeping, building anew, setting keys aside.

In this order: a `TopicReader` reads the topic, an `EventSource` fills from the journal what that lacks, an
`EventReader` decodes, a `TableFold` folds, an `EventProcessor` keeps, and a `PartitionProcessor` has the tables of a
partition. `foreign_events` reads a type of somebody else's, from its topic alone.
"""
