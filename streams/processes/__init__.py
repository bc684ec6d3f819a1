"""Process managers: hearing events of other types, dispatching the commands that follow, and firing timers."""
