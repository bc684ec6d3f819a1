"""The shop with three bugs, each in one place: for tests and pictures of a system of which much is broken at once."""
