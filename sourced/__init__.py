"""What is beside the engine for those who build on it: `testing`, the testing kit.

The engine itself is in `aggregates`, `schemas`, `streams` and `projections`.
"""
