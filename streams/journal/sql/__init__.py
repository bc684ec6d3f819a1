"""The journal in PostgreSQL and SQLite: a commit is one transaction, the fence, in `journal`."""
