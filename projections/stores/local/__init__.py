"""Tables on the disk of the worker that has the partition: RocksDB or SQLite."""
