"""Rows of tables, whatever keeps them: the port, what a projection declares, the changelog, changes as they happen."""
