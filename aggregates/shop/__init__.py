"""The shop's aggregates, one module each."""
