"""The same aggregate with others: programs that run, and their lines counted."""
