"""Tasks that end together, supervision, retries, fair turns on the event loop. Imports nothing else of the project."""
