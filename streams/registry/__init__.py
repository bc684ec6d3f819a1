"""The schema registry, where there is one: its client, and the ids that it gave to the schemas of events."""
