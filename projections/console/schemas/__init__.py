"""The versions of a type's events and commands: what differs, how each is read today, how many events are of each."""
