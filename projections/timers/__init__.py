"""The table of pending timers, and how it is shown. Nothing fires by it: see `streams.processes.timer_watch`."""
