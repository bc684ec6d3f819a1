"""The shop's queries over HTTP, their parameters and their answers."""
