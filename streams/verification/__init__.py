"""Comparing the rows of a journal with its log, and repairing them."""
