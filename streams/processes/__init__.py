"""Process managers: hearing events of other types, and dispatching the commands that follow."""
