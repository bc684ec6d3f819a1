"""Logs are split and merged under load, and workers killed and stopped: nothing is lost, doubled or out of order."""
