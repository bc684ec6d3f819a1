"""From a message to a verdict: reading a command, admitting it, deciding it against the state, setting a key aside."""
