"""The site of the documentation: `make docs`, which is `python -m documentation`, makes it of `docs/` and of what the
code says of itself."""
