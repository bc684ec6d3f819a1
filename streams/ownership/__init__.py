"""The one owner of a partition of commands: its queue, takeover of the log, commits, replies and derived rows."""
