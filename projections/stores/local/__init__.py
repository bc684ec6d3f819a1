"""Tables on the disk of the worker that has the partition.

`tables.LocalRows` writes a batch to the changelog, then to the store, which is `rocksdb` or `sqlite`.
"""
