"""The journal in Cassandra: a commit is one conditional write, the fence, in `journal`."""
