"""The audit on the command line: orders that leave their trace, and the command that prints it."""
