"""The table of pending timers, and how it is shown; nothing fires by it."""
