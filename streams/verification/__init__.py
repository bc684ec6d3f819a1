"""Comparing what is derived from a log with the log, aggregate by aggregate, and deriving it anew."""
