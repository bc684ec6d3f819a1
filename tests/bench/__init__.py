"""Measurements. `python -m tests.bench` prints them with machine and date, and stores them with `--keep`."""
