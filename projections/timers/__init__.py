"""The table of timers, what fires them, and how they are shown."""
