"""Measurements. `python -m tests.bench` runs all of them and stores the results with machine and date."""
