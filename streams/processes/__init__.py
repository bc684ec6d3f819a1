"""Process managers: hearing events of other types, dispatching the commands that follow, and firing timers.

`timer_watch` asks a timer to fire when it is due; the decider in `aggregates.timer` says whether it does.
"""
