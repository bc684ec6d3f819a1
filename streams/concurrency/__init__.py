"""Keeping coroutines in hand: tasks that end together, supervision, retries, fair turns. Imports nothing of ours."""
